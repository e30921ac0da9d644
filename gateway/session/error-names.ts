// Backends know statements by shared names; a client must read its own in their errors.
//
// Three errors of Postgres carry a statement's name: 26000 (does not exist), 42P05 (already exists)
// and 08P01 (bind message supplies ... but prepared statement ... requires ...). The bytes around
// the name stay as they are, whatever their encoding.

import { errorResponse } from '../../shared/pgwire/error-fields.ts'
import { SHARED_PREFIX } from '../statements/statement-registry.ts'
import { ESCAPED_PREFIX, LIMIT_NAME, type Extended } from './extended.ts'

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
  if (name.equals(LIMIT_NAME)) return limitReached()
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

function limitReached(): Buffer {
  return errorResponse({
    severity: 'ERROR',
    severityNonLocalized: 'ERROR',
    code: '54000',
    message: 'too many prepared statements',
    hint: 'Close or DEALLOCATE statements that are not needed any more.',
    routine: 'multigres',
  })
}
