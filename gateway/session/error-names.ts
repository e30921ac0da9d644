// Backends know statements by shared names; a client must read its own in their errors.
//
// Three errors of Postgres carry a statement's name: 26000 (does not exist), 42P05 (already exists)
// and 08P01 (bind message supplies ... but prepared statement ... requires ...). The bytes around
// the name stay as they are, whatever their encoding.

import { errorResponse } from '../../shared/pgwire/error-fields.ts'
import { SHARED_PREFIX } from '../statements/statement-registry.ts'
import type { Extended } from './extended.ts'
import { Refusal } from './mentions.ts'
import { ESCAPED_PREFIX, REFUSED_NAMES } from './refused-names.ts'
import { WEAK_COMMIT_HINT } from './session-errors.ts'

const QUOTE = 0x22

/**
 * The ErrorResponse that lies at `bytes[start, end)`, in the client's words; undefined when it has
 * no name of ours.
 */
export function withClientNames(
  bytes: Buffer,
  range: { start: number; end: number },
  extended: Extended,
): Buffer | undefined {
  const message = bytes.subarray(range.start, range.end)
  const at = message.indexOf(`"${SHARED_PREFIX.toString()}`)
  const nameEnd = at < 0 ? -1 : message.indexOf(QUOTE, at + 1)
  if (nameEnd < 0) return undefined
  const name = message.subarray(at + 1, nameEnd)
  const refusal = REFUSED_NAMES.findIndex((refused) => refused.equals(name))
  if (refusal >= 0) return refused(refusal)
  return spliced(message, { start: at + 1, end: nameEnd }, clientName(name, extended))
}

function clientName(name: Buffer, extended: Extended): Buffer {
  if (name.subarray(0, ESCAPED_PREFIX.length).equals(ESCAPED_PREFIX)) {
    return name.subarray(ESCAPED_PREFIX.length)
  }
  const { failedName } = extended.tracker
  if (failedName !== undefined) return Buffer.from(failedName, 'latin1')
  return extended.nameOf(name) ?? name
}

function spliced(message: Buffer, at: { start: number; end: number }, text: Buffer): Buffer {
  const result = Buffer.concat([message.subarray(0, at.start), text, message.subarray(at.end)])
  result.writeInt32BE(result.length - 1, 1)
  return result
}

type Said = { code: string; message: string; hint: string }
const SAID: Readonly<Record<number, Said>> = {
  [Refusal.None]: {
    code: '54000',
    message: 'too many prepared statements',
    hint: 'Close or DEALLOCATE statements that are not needed any more.',
  },
  [Refusal.WeakCommit]: {
    code: '0A000',
    message: 'synchronous_commit cannot be set below the policy of this cluster',
    hint: WEAK_COMMIT_HINT,
  },
  [Refusal.Pooling]: {
    code: '0A000',
    message: 'multigres.pooling can only be set to session or transaction',
    hint: 'Use SET multigres.pooling as a statement of its own, without LOCAL.',
  },
  [Refusal.Reads]: {
    code: '0A000',
    message: 'multigres.reads can only be set to replica or leader',
    hint: 'Use SET multigres.reads as a statement of its own, without LOCAL.',
  },
  [Refusal.ConsoleDatabase]: {
    code: '0A000',
    message: 'a database cannot have the name "multigres"',
    hint: 'It is the name of the admin console: nobody could connect to it.',
  },
  [Refusal.Channels]: {
    code: '0A000',
    message: 'UNLISTEN and pg_listening_channels() in a transaction are not supported here',
    hint: 'The session listens by a LISTEN in autocommit. End the transaction before.',
  },
}

/** What a client hears of a message that we have replaced by one that fails. */
function refused(refusal: number): Buffer {
  return errorResponse({
    severity: 'ERROR',
    severityNonLocalized: 'ERROR',
    ...(SAID[refusal] as Said),
    routine: 'multigres',
  })
}
