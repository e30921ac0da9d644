// The bytes of one small transaction as a driver, Postgres and the link have it.
import { Flag, FRAME_HEADER_BYTES, writeFrameHeader } from '../../shared/link/frame.ts'
import {
  bindComplete,
  commandComplete,
  dataRow,
  parseComplete,
  readyForQuery,
} from '../../shared/pgwire/backend.ts'
import { bind, describe, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'

/** A text of the size that most have. */
export const TEXT = 'SELECT abalance FROM pgbench_accounts WHERE aid = 123456;'

/** It as a Query. */
export const QUERY = query(TEXT)

/** It as extended messages of a statement without a name. */
export const EXTENDED = Buffer.concat([
  parse('SELECT abalance FROM pgbench_accounts WHERE aid = $1;'),
  bind({ values: ['123456'] }),
  describe(),
  execute(),
  sync(),
])

const ROWS = Buffer.concat([
  rowDescription(),
  dataRow([Buffer.from('0')]),
  commandComplete('SELECT 1'),
  readyForQuery(TransactionStatus.Idle),
])

/** What Postgres answers to QUERY. */
export const ANSWER = ROWS
/** What it answers to EXTENDED. */
export const EXTENDED_ANSWER = Buffer.concat([parseComplete(), bindComplete(), ROWS])

/** One frame; READY frames say 'I' and no pins. */
export function frame(
  kind: number,
  stream: number,
  flags: number,
  value: number,
  payload: Buffer,
): Buffer {
  const bytes = Buffer.alloc(FRAME_HEADER_BYTES + payload.length)
  const status = (flags & Flag.Ready) !== 0 ? TransactionStatus.Idle : 0
  writeFrameHeader(bytes, 0, payload.length, stream, kind, flags, status, 0, value)
  payload.copy(bytes, FRAME_HEADER_BYTES)
  return bytes
}

/** One column of type int4. */
function rowDescription(): Buffer {
  const name = Buffer.from('abalance\0')
  const field = [0, 0, 64, 9, 0, 3, 0, 0, 0, 23, 0, 4, 255, 255, 255, 255, 0, 0]
  const bytes = Buffer.from([0x54, 0, 0, 0, 0, 0, 1, ...name, ...field])
  bytes.writeInt32BE(bytes.length - 1, 1)
  return bytes
}
