import { rawStartOf } from '../backend/frame-bytes.ts'
import { HEADER_BYTES } from '../../shared/pgwire/message-reader.ts'
import { Frontend } from '../../shared/pgwire/message-types.ts'

const DATABASE = /^\s*(?:drop|alter|create)\s+database\s/i
const DEFAULTS = /^\s*alter\s+(?:role|user|database|system)\s/i
/** Blanks and two words; nobody indents further. */
const LOOK_BYTES = 64
/** a c d, whatever the case. */
const FIRST_LETTERS = new Uint8Array(256)
for (const byte of Buffer.from('acdACD \n\t\r')) FIRST_LETTERS[byte] = 1

/** What the first statement of a batch may mean for others than its session. */
export const Concern = {
  None: 0,
  /** It is on a whole database, to which no other session may be connected then. */
  Database: 1,
  /** It may change the settings with which sessions begin. */
  Defaults: 2,
} as const

/**
 * The concerns of the frame's first message, a bit mask. Looks at one byte of almost every batch,
 * and at no more.
 */
export function concernsOf(flags: number, bytes: Buffer, start: number, end: number): number {
  const raw = rawStartOf(flags, bytes, start, end)
  if (raw >= end) return Concern.None
  const type = bytes[raw]
  let text = raw + HEADER_BYTES
  if (type === Frontend.Parse) text = bytes.indexOf(0, text) + 1 // behind the statement's name
  else if (type !== Frontend.Query) return Concern.None
  if (text >= end || FIRST_LETTERS[bytes[text] as number] === 0) return Concern.None
  const words = bytes.toString('latin1', text, Math.min(end, text + LOOK_BYTES))
  const database = DATABASE.test(words) ? Concern.Database : Concern.None
  return DEFAULTS.test(words) ? database | Concern.Defaults : database
}
