// What a backend sends, by the manual's names; errors and notices are in error-fields.ts. Every
// encoder returns one whole message, the caller's own bytes.
// Source: PostgreSQL manual, "Message Formats".
import { assert } from '../errors/assert.ts'
import type { FormatCode, WireValue } from './frontend.ts'
import { AuthenticationRequest, Backend, type TransactionStatus } from './message-types.ts'
import { messageOf, MessageWriter } from './message-writer.ts'

const out = new MessageWriter()

/** One column of RowDescription. What is left out is 0, -1 for size and modifier. */
export type ColumnDescription = {
  name: string
  tableOid?: number
  columnNumber?: number
  typeOid: number
  typeSize?: number
  typeModifier?: number
  format?: FormatCode
}

/** What the three Copy responses say: overall format, then that of each column. */
export type CopyFormat = { format?: FormatCode; columns?: readonly FormatCode[] }

/** AuthenticationOk. */
export function authenticationOk(): Buffer {
  return authentication(AuthenticationRequest.Ok)
}

/** AuthenticationCleartextPassword. */
export function authenticationCleartextPassword(): Buffer {
  return authentication(AuthenticationRequest.CleartextPassword)
}

/** AuthenticationMD5Password. `salt` has 4 bytes. */
export function authenticationMd5Password(salt: Uint8Array): Buffer {
  assert(salt.length === 4, 'an md5 salt has 4 bytes')
  return authentication(AuthenticationRequest.MD5Password, salt)
}

/** AuthenticationSASL. `mechanisms` in the order of preference. */
export function authenticationSasl(mechanisms: readonly string[]): Buffer {
  out.begin(Backend.Authentication).int32(AuthenticationRequest.SASL)
  for (const mechanism of mechanisms) out.cstring(mechanism)
  return out.uint8(0).finish()
}

/** AuthenticationSASLContinue. */
export function authenticationSaslContinue(data: Uint8Array): Buffer {
  return authentication(AuthenticationRequest.SASLContinue, data)
}

/** AuthenticationSASLFinal. */
export function authenticationSaslFinal(data: Uint8Array): Buffer {
  return authentication(AuthenticationRequest.SASLFinal, data)
}

/** ParameterStatus. */
export function parameterStatus(name: string, value: string): Buffer {
  return out.begin(Backend.ParameterStatus).cstring(name).cstring(value).finish()
}

/** BackendKeyData. `key` has 4 bytes for protocol 3.0, up to 256 since 3.2. */
export function backendKeyData(processId: number, key: Uint8Array): Buffer {
  assert(key.length >= 4 && key.length <= 256, 'a cancel key has 4 to 256 bytes')
  return out.begin(Backend.BackendKeyData).int32(processId).bytes(key).finish()
}

/** NegotiateProtocolVersion: the newest version spoken, and the `_pq_.` options not known. */
export function negotiateProtocolVersion(version: number, options: readonly string[]): Buffer {
  out.begin(Backend.NegotiateProtocolVersion).int32(version).int32(options.length)
  for (const option of options) out.cstring(option)
  return out.finish()
}

/** ReadyForQuery. */
export function readyForQuery(status: TransactionStatus): Buffer {
  return out.begin(Backend.ReadyForQuery).uint8(status).finish()
}

/** RowDescription. */
export function rowDescription(columns: readonly ColumnDescription[]): Buffer {
  out.begin(Backend.RowDescription).int16(columns.length)
  for (const column of columns) {
    out
      .cstring(column.name)
      .int32(column.tableOid ?? 0)
      .int16(column.columnNumber ?? 0)
    out.int32(column.typeOid).int16(column.typeSize ?? -1)
    out.int32(column.typeModifier ?? -1).int16(column.format ?? 0)
  }
  return out.finish()
}

/** DataRow. */
export function dataRow(values: readonly WireValue[]): Buffer {
  out.begin(Backend.DataRow).int16(values.length)
  for (const value of values) out.value(value)
  return out.finish()
}

/** CommandComplete. `tag` like 'SELECT 1'. */
export function commandComplete(tag: string): Buffer {
  return out.begin(Backend.CommandComplete).cstring(tag).finish()
}

/** ParameterDescription: the object ids of a statement's parameters. */
export function parameterDescription(types: readonly number[]): Buffer {
  out.begin(Backend.ParameterDescription).int16(types.length)
  for (const type of types) out.int32(type)
  return out.finish()
}

/** ParseComplete. */
export function parseComplete(): Buffer {
  return out.begin(Backend.ParseComplete).finish()
}

/** BindComplete. */
export function bindComplete(): Buffer {
  return out.begin(Backend.BindComplete).finish()
}

/** CloseComplete. */
export function closeComplete(): Buffer {
  return out.begin(Backend.CloseComplete).finish()
}

/** NoData. */
export function noData(): Buffer {
  return out.begin(Backend.NoData).finish()
}

/** EmptyQueryResponse. */
export function emptyQueryResponse(): Buffer {
  return out.begin(Backend.EmptyQueryResponse).finish()
}

/** PortalSuspended. */
export function portalSuspended(): Buffer {
  return out.begin(Backend.PortalSuspended).finish()
}

/** NotificationResponse. `processId` is the notifier's. */
export function notificationResponse(processId: number, channel: string, payload: string): Buffer {
  out.begin(Backend.NotificationResponse).int32(processId)
  return out.cstring(channel).cstring(payload).finish()
}

/** FunctionCallResponse. */
export function functionCallResponse(value: WireValue): Buffer {
  return out.begin(Backend.FunctionCallResponse).value(value).finish()
}

/** CopyInResponse. */
export function copyInResponse(format: CopyFormat = {}): Buffer {
  return copyResponse(Backend.CopyInResponse, format)
}

/** CopyOutResponse. */
export function copyOutResponse(format: CopyFormat = {}): Buffer {
  return copyResponse(Backend.CopyOutResponse, format)
}

/** CopyBothResponse. */
export function copyBothResponse(format: CopyFormat = {}): Buffer {
  return copyResponse(Backend.CopyBothResponse, format)
}

/** CopyData. Copies `data`. */
export function copyData(data: Uint8Array): Buffer {
  return messageOf(Backend.CopyData, data)
}

/** CopyDone. */
export function copyDone(): Buffer {
  return out.begin(Backend.CopyDone).finish()
}

function authentication(request: number, data: Uint8Array = new Uint8Array()): Buffer {
  return out.begin(Backend.Authentication).int32(request).bytes(data).finish()
}

function copyResponse(type: number, { format = 0, columns = [] }: CopyFormat): Buffer {
  out.begin(type).uint8(format).int16(columns.length)
  for (const column of columns) out.int16(column)
  return out.finish()
}
