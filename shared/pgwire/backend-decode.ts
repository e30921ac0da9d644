import { PgError } from '../errors/pg-error.ts'
import type { ColumnDescription } from './backend.ts'
import { decodeErrorFields, type ErrorFields } from './error-fields.ts'
import type { FormatCode } from './frontend.ts'
import { AuthenticationRequest, Backend, type TransactionStatus } from './message-types.ts'
import type { MessageReader } from './message-reader.ts'

/**
 * A backend's message as an object, by the manual's names. Buffers are views, copy what you keep.
 */
export type BackendMessage =
  | AuthenticationMessage
  | { name: 'BackendKeyData'; processId: number; key: Buffer }
  | { name: 'ParameterStatus'; parameter: string; value: string }
  | { name: 'NegotiateProtocolVersion'; version: number; options: string[] }
  | { name: 'ReadyForQuery'; status: TransactionStatus }
  | { name: 'ErrorResponse' | 'NoticeResponse'; fields: ErrorFields }
  | { name: 'RowDescription'; columns: Required<ColumnDescription>[] }
  | { name: 'DataRow'; values: (Buffer | null)[] }
  | { name: 'CommandComplete'; tag: string }
  | { name: 'ParameterDescription'; types: number[] }
  | { name: 'NotificationResponse'; processId: number; channel: string; payload: string }
  | { name: 'FunctionCallResponse'; value: Buffer | null }
  | { name: CopyResponseName; format: FormatCode; columns: FormatCode[] }
  | { name: 'CopyData'; data: Buffer }
  | { name: EmptyMessageName }

type CopyResponseName = 'CopyInResponse' | 'CopyOutResponse' | 'CopyBothResponse'
type EmptyMessageName =
  | 'ParseComplete'
  | 'BindComplete'
  | 'CloseComplete'
  | 'NoData'
  | 'EmptyQueryResponse'
  | 'PortalSuspended'
  | 'CopyDone'

/** The messages of type R. */
export type AuthenticationMessage =
  | { name: 'AuthenticationOk' | 'AuthenticationCleartextPassword' }
  | { name: 'AuthenticationMD5Password'; salt: Buffer }
  | { name: 'AuthenticationSASL'; mechanisms: string[] }
  | { name: 'AuthenticationSASLContinue' | 'AuthenticationSASLFinal'; data: Buffer }
  | { name: 'AuthenticationOther'; request: number; data: Buffer }

const EMPTY_MESSAGES: ReadonlyMap<number, EmptyMessageName> = new Map([
  [Backend.ParseComplete, 'ParseComplete'],
  [Backend.BindComplete, 'BindComplete'],
  [Backend.CloseComplete, 'CloseComplete'],
  [Backend.NoData, 'NoData'],
  [Backend.EmptyQueryResponse, 'EmptyQueryResponse'],
  [Backend.PortalSuspended, 'PortalSuspended'],
  [Backend.CopyDone, 'CopyDone'],
] as [number, EmptyMessageName][])

/**
 * Decodes the current message of `reader`. Slow paths, internal clients and tests: what is only
 * forwarded is never decoded.
 * @throws PgError protocol_violation.
 */
export function decodeBackend(reader: MessageReader): BackendMessage {
  reader.rewind()
  const empty = EMPTY_MESSAGES.get(reader.type)
  const message = empty === undefined ? decode(reader) : { name: empty }
  reader.expectEnd()
  return message
}

function decode(reader: MessageReader): BackendMessage {
  switch (reader.type) {
    case Backend.Authentication:
      return decodeAuthentication(reader)
    case Backend.BackendKeyData:
      return { name: 'BackendKeyData', processId: reader.int32(), key: reader.rest() }
    case Backend.ParameterStatus:
      return { name: 'ParameterStatus', parameter: reader.cstring(), value: reader.cstring() }
    case Backend.NegotiateProtocolVersion:
      return decodeNegotiation(reader)
    case Backend.ReadyForQuery:
      return { name: 'ReadyForQuery', status: reader.uint8() as TransactionStatus }
    case Backend.ErrorResponse:
      return { name: 'ErrorResponse', fields: decodeErrorFields(reader) }
    case Backend.NoticeResponse:
      return { name: 'NoticeResponse', fields: decodeErrorFields(reader) }
    default:
      return decodeResult(reader)
  }
}

function decodeResult(reader: MessageReader): BackendMessage {
  switch (reader.type) {
    case Backend.RowDescription:
      return { name: 'RowDescription', columns: list(reader.uint16(), () => decodeColumn(reader)) }
    case Backend.DataRow:
      return { name: 'DataRow', values: list(reader.uint16(), () => reader.value()) }
    case Backend.CommandComplete:
      return { name: 'CommandComplete', tag: reader.cstring() }
    case Backend.ParameterDescription:
      return {
        name: 'ParameterDescription',
        types: list(reader.uint16(), () => reader.uint32()),
      }
    case Backend.NotificationResponse:
      return decodeNotification(reader)
    case Backend.FunctionCallResponse:
      return { name: 'FunctionCallResponse', value: reader.value() }
    case Backend.CopyInResponse:
      return decodeCopy('CopyInResponse', reader)
    case Backend.CopyOutResponse:
      return decodeCopy('CopyOutResponse', reader)
    case Backend.CopyBothResponse:
      return decodeCopy('CopyBothResponse', reader)
    case Backend.CopyData:
      return { name: 'CopyData', data: reader.rest() }
    default:
      throw new PgError('protocol_violation', `invalid backend message type ${reader.type}`)
  }
}

function decodeAuthentication(reader: MessageReader): AuthenticationMessage {
  const request = reader.int32()
  switch (request) {
    case AuthenticationRequest.Ok:
      return { name: 'AuthenticationOk' }
    case AuthenticationRequest.CleartextPassword:
      return { name: 'AuthenticationCleartextPassword' }
    case AuthenticationRequest.MD5Password:
      return { name: 'AuthenticationMD5Password', salt: reader.view(4) }
    case AuthenticationRequest.SASL:
      return { name: 'AuthenticationSASL', mechanisms: decodeMechanisms(reader) }
    case AuthenticationRequest.SASLContinue:
      return { name: 'AuthenticationSASLContinue', data: reader.rest() }
    case AuthenticationRequest.SASLFinal:
      return { name: 'AuthenticationSASLFinal', data: reader.rest() }
    default:
      return { name: 'AuthenticationOther', request, data: reader.rest() }
  }
}

function decodeMechanisms(reader: MessageReader): string[] {
  const mechanisms: string[] = []
  for (let name = reader.cstring(); name !== ''; name = reader.cstring()) mechanisms.push(name)
  return mechanisms
}

function decodeNegotiation(reader: MessageReader): BackendMessage {
  const version = reader.int32()
  const options = list(reader.int32(), () => reader.cstring())
  return { name: 'NegotiateProtocolVersion', version, options }
}

function decodeNotification(reader: MessageReader): BackendMessage {
  return {
    name: 'NotificationResponse',
    processId: reader.int32(),
    channel: reader.cstring(),
    payload: reader.cstring(),
  }
}

function decodeColumn(reader: MessageReader): Required<ColumnDescription> {
  return {
    name: reader.cstring(),
    tableOid: reader.uint32(),
    columnNumber: reader.int16(),
    typeOid: reader.uint32(),
    typeSize: reader.int16(),
    typeModifier: reader.int32(),
    format: reader.int16() as FormatCode,
  }
}

function decodeCopy(name: CopyResponseName, reader: MessageReader): BackendMessage {
  const format = reader.uint8() as FormatCode
  return { name, format, columns: list(reader.uint16(), () => reader.int16() as FormatCode) }
}

function list<T>(count: number, item: () => T): T[] {
  const items: T[] = []
  for (let left = count; left > 0; left -= 1) items.push(item())
  return items
}
