import { rawStartOf } from '../backend/frame-bytes.ts'
import { HEADER_BYTES } from '../../shared/pgwire/message-reader.ts'
import { Frontend } from '../../shared/pgwire/message-types.ts'

const COMMAND = /^\s*(?:drop|alter|create)\s+database\s/i
/** Blanks and two words; nobody indents further. */
const LOOK_BYTES = 64
/** a c d, whatever the case. */
const FIRST_LETTERS = new Set(Buffer.from('acdACD \n\t\r'))

/**
 * True when the frame's first message is a statement on a whole database, to which no other session
 * may be connected then. Looks at one byte of almost every batch, and at no more.
 */
export function mayCloseDatabase(
  flags: number,
  bytes: Buffer,
  start: number,
  end: number,
): boolean {
  const raw = rawStartOf(flags, bytes, start, end)
  if (raw >= end) return false
  const type = bytes[raw]
  let text = raw + HEADER_BYTES
  if (type === Frontend.Parse) text = bytes.indexOf(0, text) + 1 // behind the statement's name
  else if (type !== Frontend.Query) return false
  if (text >= end || !FIRST_LETTERS.has(bytes[text] as number)) return false
  return COMMAND.test(bytes.toString('latin1', text, Math.min(end, text + LOOK_BYTES)))
}
