import { PgError } from '../errors/pg-error.ts'
import { decodeErrorFields } from '../pgwire/error-fields.ts'
import { Backend } from '../pgwire/message-types.ts'
import type { MessageReader } from '../pgwire/message-reader.ts'
import { ServerError } from '../pgwire/server-error.ts'
import type { WireStream } from './wire-stream.ts'

/** Values of a row as they came; copies. */
export type ResultRow = (Buffer | null)[]

/** Rows of a replication command: a handful. What has more is not an answer to one. */
const ROWS_MAX = 100_000

/**
 * The rows of a simple command, up to ReadyForQuery. @throws ServerError once the server is ready
 * for the next command.
 */
export async function readResult(stream: WireStream): Promise<ResultRow[]> {
  const rows: ResultRow[] = []
  for (;;) {
    const type = await stream.next()
    if (type === Backend.ReadyForQuery) return rows
    if (type === Backend.ErrorResponse) await unexpected(stream)
    if (type === Backend.DataRow) takeRow(rows, stream.reader)
  }
}

/**
 * The rows of one of several result sets of a command, up to its CommandComplete.
 * @param timeoutMs longest silence of the server.
 */
export async function readResultSet(stream: WireStream, timeoutMs?: number): Promise<ResultRow[]> {
  const rows: ResultRow[] = []
  for (;;) {
    const type = await stream.next(timeoutMs)
    if (type === Backend.CommandComplete) return rows
    if (type === Backend.DataRow) takeRow(rows, stream.reader)
    else if (type !== Backend.RowDescription) await unexpected(stream)
  }
}

/**
 * Refuses the current message: an ErrorResponse with what it says, once the server is ready again,
 * anything else as a breach of the protocol. That, and FATAL, ends the connection.
 */
export async function unexpected(stream: WireStream): Promise<never> {
  const { reader } = stream
  if (reader.type !== Backend.ErrorResponse) {
    const type = String.fromCharCode(reader.type)
    throw stream.fail(new PgError('protocol_violation', `unexpected message of type ${type}`))
  }
  const failure = new ServerError(decodeErrorFields(reader))
  const severity = failure.fields.severityNonLocalized ?? failure.fields.severity
  if (severity !== 'ERROR') throw stream.fail(failure)
  while ((await stream.next()) !== Backend.ReadyForQuery);
  throw failure
}

function takeRow(rows: ResultRow[], reader: MessageReader): void {
  if (rows.length === ROWS_MAX) throw new PgError('protocol_violation', 'too many rows')
  const row: ResultRow = []
  for (let left = reader.uint16(); left > 0; left -= 1) {
    const value = reader.value()
    row.push(value === null ? null : Buffer.from(value))
  }
  rows.push(row)
}
