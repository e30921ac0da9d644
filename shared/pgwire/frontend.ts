// What a frontend sends, by the manual's names. Every encoder returns one whole message, the
// caller's own bytes. Source: PostgreSQL manual, "Message Formats".
import { assert } from '../errors/assert.ts'
import { Frontend, ProtocolVersion, RequestCode } from './message-types.ts'
import { messageOf, MessageWriter } from './message-writer.ts'

const out = new MessageWriter()

/** 0 for text, 1 for binary. */
export type FormatCode = 0 | 1

/** A parameter or column value on the wire: text, bytes as they are, or SQL NULL. */
export type WireValue = string | Uint8Array | null

/** Names a prepared statement or a portal; '' is the unnamed one. */
export type Target = { statement: string } | { portal: string }

/** Where `bind` puts values; all default to unnamed, no values, text. */
export type BindOptions = {
  portal?: string
  statement?: string
  formats?: readonly FormatCode[]
  values?: readonly WireValue[]
  resultFormats?: readonly FormatCode[]
}

/** Query: a simple query, one or more statements. */
export function query(text: string): Buffer {
  return out.begin(Frontend.Query).cstring(text).finish()
}

/** Parse. `types` are object ids, 0 to leave one open. */
export function parse(
  text: string,
  options: { name?: string; types?: readonly number[] } = {},
): Buffer {
  const types = options.types ?? []
  out
    .begin(Frontend.Parse)
    .cstring(options.name ?? '')
    .cstring(text)
    .int16(types.length)
  for (const type of types) out.int32(type)
  return out.finish()
}

/** Bind. */
export function bind(options: BindOptions = {}): Buffer {
  const { formats = [], values = [], resultFormats = [] } = options
  out
    .begin(Frontend.Bind)
    .cstring(options.portal ?? '')
    .cstring(options.statement ?? '')
  out.int16(formats.length)
  for (const format of formats) out.int16(format)
  out.int16(values.length)
  for (const value of values) out.value(value)
  out.int16(resultFormats.length)
  for (const format of resultFormats) out.int16(format)
  return out.finish()
}

/** Describe; the unnamed portal by default. */
export function describe(target: Target = { portal: '' }): Buffer {
  return named(Frontend.Describe, target)
}

/** Close; the unnamed portal by default. */
export function close(target: Target = { portal: '' }): Buffer {
  return named(Frontend.Close, target)
}

/** Execute. `rowsMax` 0 means all rows. */
export function execute(options: { portal?: string; rowsMax?: number } = {}): Buffer {
  out
    .begin(Frontend.Execute)
    .cstring(options.portal ?? '')
    .int32(options.rowsMax ?? 0)
  return out.finish()
}

/** Flush. */
export function flush(): Buffer {
  return out.begin(Frontend.Flush).finish()
}

/** Sync. */
export function sync(): Buffer {
  return out.begin(Frontend.Sync).finish()
}

/** Terminate. */
export function terminate(): Buffer {
  return out.begin(Frontend.Terminate).finish()
}

/** CopyData, in either direction. Copies `data`. */
export function copyData(data: Uint8Array): Buffer {
  return messageOf(Frontend.CopyData, data)
}

/** CopyDone, in either direction. */
export function copyDone(): Buffer {
  return out.begin(Frontend.CopyDone).finish()
}

/** CopyFail. */
export function copyFail(reason: string): Buffer {
  return out.begin(Frontend.CopyFail).cstring(reason).finish()
}

/** FunctionCall, the fast path. `oid` names the function. */
export function functionCall(
  oid: number,
  options: {
    formats?: readonly FormatCode[]
    arguments?: readonly WireValue[]
    resultFormat?: FormatCode
  } = {},
): Buffer {
  const { formats = [], arguments: values = [], resultFormat = 0 } = options
  out.begin(Frontend.FunctionCall).int32(oid).int16(formats.length)
  for (const format of formats) out.int16(format)
  out.int16(values.length)
  for (const value of values) out.value(value)
  return out.int16(resultFormat).finish()
}

/** PasswordMessage, the answer to a cleartext or md5 request. */
export function password(text: string): Buffer {
  return out.begin(Frontend.PasswordMessage).cstring(text).finish()
}

/** SASLInitialResponse. `response` null means none, which is not the same as an empty one. */
export function saslInitialResponse(mechanism: string, response: Uint8Array | null): Buffer {
  return out.begin(Frontend.PasswordMessage).cstring(mechanism).value(response).finish()
}

/** SASLResponse. */
export function saslResponse(response: Uint8Array): Buffer {
  return messageOf(Frontend.PasswordMessage, response)
}

/**
 * StartupMessage: the version, then parameter names and values in the order given.
 * @param version as on the wire, 3.2 by default.
 */
export function startup(
  parameters: Readonly<Record<string, string>> | readonly (readonly [string, string])[],
  version: number = ProtocolVersion.V3_2,
): Buffer {
  const pairs = Array.isArray(parameters) ? parameters : Object.entries(parameters)
  out.begin(0).int32(version)
  for (const [name, value] of pairs as readonly (readonly [string, string])[]) {
    out.cstring(name).cstring(value)
  }
  return out.uint8(0).finish()
}

/** SSLRequest. Answered by one byte, 'S' or 'N'. */
export function sslRequest(): Buffer {
  return out.begin(0).int32(RequestCode.Ssl).finish()
}

/** GSSENCRequest. Answered by one byte, 'G' or 'N'. */
export function gssEncRequest(): Buffer {
  return out.begin(0).int32(RequestCode.GssEnc).finish()
}

/** CancelRequest. `key` is as BackendKeyData gave it: 4 bytes, up to 256 since protocol 3.2. */
export function cancelRequest(processId: number, key: Uint8Array): Buffer {
  assert(key.length >= 1 && key.length <= 256, 'a cancel key has 1 to 256 bytes')
  return out.begin(0).int32(RequestCode.Cancel).int32(processId).bytes(key).finish()
}

function named(type: number, target: Target): Buffer {
  const [kind, name] =
    'statement' in target ? (['S', target.statement] as const) : (['P', target.portal] as const)
  return out.begin(type).text(kind).cstring(name).finish()
}
