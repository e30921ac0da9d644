import type { FormatCode, Target } from './frontend.ts'
import { Frontend } from './message-types.ts'
import type { MessageReader } from './message-reader.ts'
import { PgError } from '../errors/pg-error.ts'

/**
 * A frontend's message as an object, by the manual's names. Buffers are views, copy what you keep.
 */
export type FrontendMessage =
  | { name: 'Query'; text: string }
  | { name: 'Parse'; statement: string; text: string; types: number[] }
  | BindMessage
  | { name: 'Describe' | 'Close'; target: Target }
  | { name: 'Execute'; portal: string; rowsMax: number }
  | { name: 'Flush' | 'Sync' | 'Terminate' | 'CopyDone' }
  | { name: 'CopyData'; data: Buffer }
  | { name: 'CopyFail'; reason: string }
  | FunctionCallMessage
  | { name: 'PasswordMessage'; body: Buffer }

/** Bind, decoded. */
export type BindMessage = {
  name: 'Bind'
  portal: string
  statement: string
  formats: FormatCode[]
  values: (Buffer | null)[]
  resultFormats: FormatCode[]
}

/** FunctionCall, decoded. */
export type FunctionCallMessage = {
  name: 'FunctionCall'
  oid: number
  formats: FormatCode[]
  arguments: (Buffer | null)[]
  resultFormat: FormatCode
}

/**
 * Decodes the current message of `reader`. Slow paths and tests: the hot path reads what it needs.
 * @throws PgError protocol_violation with Postgres's text.
 */
export function decodeFrontend(reader: MessageReader): FrontendMessage {
  reader.rewind()
  const message = decode(reader)
  reader.expectEnd()
  return message
}

/** SASLInitialResponse, from the PasswordMessage that comes first in a SASL exchange. */
export function decodeSaslInitialResponse(reader: MessageReader): {
  mechanism: string
  response: Buffer | null
} {
  reader.rewind()
  const message = { mechanism: reader.cstring(), response: reader.value() }
  reader.expectEnd()
  return message
}

/** The password, from a PasswordMessage that answers a cleartext request. */
export function decodePassword(reader: MessageReader): string {
  reader.rewind()
  const text = reader.cstring()
  reader.expectEnd()
  return text
}

function decode(reader: MessageReader): FrontendMessage {
  switch (reader.type) {
    case Frontend.Query:
      return { name: 'Query', text: reader.cstring() }
    case Frontend.Parse:
      return decodeParse(reader)
    case Frontend.Bind:
      return decodeBind(reader)
    case Frontend.Describe:
      return { name: 'Describe', target: decodeTarget(reader, 'DESCRIBE') }
    case Frontend.Close:
      return { name: 'Close', target: decodeTarget(reader, 'CLOSE') }
    case Frontend.Execute:
      return { name: 'Execute', portal: reader.cstring(), rowsMax: reader.int32() }
    case Frontend.Flush:
      return { name: 'Flush' }
    case Frontend.Sync:
      return { name: 'Sync' }
    case Frontend.Terminate:
      return { name: 'Terminate' }
    case Frontend.CopyData:
      return { name: 'CopyData', data: reader.rest() }
    case Frontend.CopyDone:
      return { name: 'CopyDone' }
    case Frontend.CopyFail:
      return { name: 'CopyFail', reason: reader.cstring() }
    case Frontend.FunctionCall:
      return decodeFunctionCall(reader)
    case Frontend.PasswordMessage:
      return { name: 'PasswordMessage', body: reader.rest() }
    default:
      throw invalidType(reader.type)
  }
}

/** What Postgres says to a type byte it does not know. The connection ends with it. */
export function invalidType(type: number): PgError {
  const message = `invalid frontend message type ${type}`
  return new PgError('protocol_violation', message, { severity: 'FATAL' })
}

function decodeParse(reader: MessageReader): FrontendMessage {
  const statement = reader.cstring()
  const text = reader.cstring()
  return { name: 'Parse', statement, text, types: list(reader, () => reader.uint32()) }
}

function decodeBind(reader: MessageReader): BindMessage {
  return {
    name: 'Bind',
    portal: reader.cstring(),
    statement: reader.cstring(),
    formats: list(reader, () => formatCode(reader)),
    values: list(reader, () => reader.value()),
    resultFormats: list(reader, () => formatCode(reader)),
  }
}

function decodeFunctionCall(reader: MessageReader): FunctionCallMessage {
  return {
    name: 'FunctionCall',
    oid: reader.uint32(),
    formats: list(reader, () => formatCode(reader)),
    arguments: list(reader, () => reader.value()),
    resultFormat: formatCode(reader),
  }
}

function decodeTarget(reader: MessageReader, message: string): Target {
  const kind = reader.uint8()
  const name = reader.cstring()
  if (kind === 0x53) return { statement: name }
  if (kind === 0x50) return { portal: name }
  throw new PgError('protocol_violation', `invalid ${message} message subtype ${kind}`)
}

/** An Int16 count without sign, then that many items. */
function list<T>(reader: MessageReader, item: () => T): T[] {
  const items: T[] = []
  for (let left = reader.uint16(); left > 0; left -= 1) items.push(item())
  return items
}

function formatCode(reader: MessageReader): FormatCode {
  const code = reader.int16()
  if (code === 0 || code === 1) return code
  throw new PgError('invalid_parameter_value', `unsupported format code: ${code}`)
}
