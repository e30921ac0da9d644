// The packets before a session has message types: what a frontend sends first, and again after an
// answer to SSLRequest or GSSENCRequest. Bounds and texts are those of PostgreSQL 18, tried on it.
// Source: PostgreSQL manual, "Message Formats" and "Start-up".
import { isUtf8 } from 'node:buffer'
import { PgError } from '../errors/pg-error.ts'
import { ProtocolVersion, RequestCode } from './message-types.ts'

/** Postgres's MAX_STARTUP_PACKET_LENGTH: of the body, without the length word. */
export const STARTUP_BODY_BYTES_MAX = 10_000
/** First byte of a TLS handshake record; no startup packet can begin with it. */
export const TLS_HANDSHAKE = 0x16

const NAME_BYTES_MAX = 63 // NAMEDATALEN - 1
const CANCEL_KEY_BYTES_MAX = 256
const EMPTY = Buffer.alloc(0)

/** A frontend that wants a session. */
export type StartupMessage = {
  name: 'StartupMessage'
  /** As on the wire; its major version is 3. */
  version: number
  user: string
  /** What was asked for, else the user's name; '' for physical replication. */
  database: string
  replication: boolean | 'database'
  /** The command-line style `options`, unsplit; '' when absent. */
  options: string
  /** All other parameters, in the order sent: settings of the session, names may repeat. */
  settings: [name: string, value: string][]
  /** The `_pq_.` options, none of which is known. */
  protocolOptions: string[]
}

/** A frontend that wants a running batch canceled. */
export type CancelRequest = {
  name: 'CancelRequest'
  processId: number
  /** 1 to 256 bytes, its own copy. */
  key: Buffer
}

/** Something else: a request of this system's own, or a protocol version not spoken. */
export type OtherRequest = {
  name: 'OtherRequest'
  code: number
  /** What follows the code, its own copy. */
  body: Buffer
}

export type StartupPacket =
  | StartupMessage
  | CancelRequest
  | OtherRequest
  | { name: 'SSLRequest' }
  | { name: 'GSSENCRequest' }

function fatal(message: string): PgError {
  return new PgError('protocol_violation', message, { severity: 'FATAL' })
}

/** Cuts startup packets out of a stream. Holds at most one, of bounded size. */
export class StartupReader {
  #bytes: Buffer = EMPTY

  /** Takes the next bytes from the frontend. */
  feed(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
  }

  /**
   * The next whole packet, or undefined until more bytes are fed.
   * @throws PgError, see `decodeStartupPacket`. Postgres itself tells the frontend nothing when a
   *   length is wrong, it logs and closes.
   */
  next(): StartupPacket | undefined {
    const size = startupPacketBytes(this.#bytes)
    if (size === undefined || size > this.#bytes.length) return undefined
    const packet = this.#bytes.subarray(0, size)
    this.#bytes = this.#bytes.subarray(size)
    return decodeStartupPacket(packet)
  }

  /** What was fed and is not part of a packet given out; it is the caller's from now on. */
  takeRest(): Buffer {
    const rest = this.#bytes
    this.#bytes = EMPTY
    return rest
  }
}

/**
 * Size of the packet that starts at `bytes[0]`, length word included; undefined before that word.
 * @throws PgError protocol_violation 'invalid length of startup packet'.
 */
export function startupPacketBytes(bytes: Buffer): number | undefined {
  if (bytes.length < 4) return undefined
  const size = bytes.readInt32BE(0)
  if (size < 8 || size > 4 + STARTUP_BODY_BYTES_MAX) {
    throw fatal('invalid length of startup packet')
  }
  return size
}

/**
 * Decodes one whole packet, length word included. Nothing of the result points into `packet`.
 * @throws PgError protocol_violation, invalid_parameter_value (replication),
 *   invalid_authorization_specification (no user), character_not_in_repertoire; all FATAL.
 */
export function decodeStartupPacket(packet: Buffer): StartupPacket {
  const code = packet.readUInt32BE(4)
  if (code === RequestCode.Ssl) return { name: 'SSLRequest' }
  if (code === RequestCode.GssEnc) return { name: 'GSSENCRequest' }
  if (code === RequestCode.Cancel) return decodeCancel(packet)
  if (code >>> 16 === 3) return decodeStartupMessage(packet)
  return { name: 'OtherRequest', code, body: Buffer.from(packet.subarray(8)) }
}

/** What Postgres says to a version it does not speak. Its code is that of an OtherRequest. */
export function unsupportedProtocol(code: number): PgError {
  const version = `${code >>> 16}.${code & 0xffff}`
  const message = `unsupported frontend protocol ${version}: server supports 3.0 to 3.2`
  return new PgError('feature_not_supported', message, { severity: 'FATAL' })
}

/**
 * What to answer to the version and protocol options a frontend asks for.
 * `negotiation` holds the fields of NegotiateProtocolVersion, to be sent ahead of all else, or is
 * undefined when there is nothing to negotiate. `version` is what both sides speak then.
 *
 * 3.1 was never a version, some software asks for it: it is told 3.0. (PostgreSQL 18 takes it in
 * silence and speaks 3.0, 14 to 17 negotiate.) 3.9999 is what clients send to keep servers honest.
 */
export function negotiate(startup: StartupMessage): {
  version: number
  negotiation: { version: number; options: string[] } | undefined
} {
  const asked = startup.version
  const version = asked >= ProtocolVersion.V3_2 ? ProtocolVersion.V3_2 : ProtocolVersion.V3_0
  const options = startup.protocolOptions
  const negotiation = version === asked && options.length === 0 ? undefined : { version, options }
  return { version, negotiation }
}

function decodeCancel(packet: Buffer): CancelRequest {
  if (packet.length < 12) throw fatal('invalid length of cancel request packet')
  const key = Buffer.from(packet.subarray(12))
  if (key.length === 0 || key.length > CANCEL_KEY_BYTES_MAX) {
    throw fatal('invalid length of cancel key in cancel request packet')
  }
  return { name: 'CancelRequest', processId: packet.readInt32BE(8), key }
}

function decodeStartupMessage(packet: Buffer): StartupMessage {
  const startup: StartupMessage = {
    name: 'StartupMessage',
    version: packet.readUInt32BE(4),
    user: '',
    database: '',
    replication: false,
    options: '',
    settings: [],
    protocolOptions: [],
  }
  let at = 8
  while (at < packet.length && packet[at] !== 0) {
    const nameEnd = packet.indexOf(0, at)
    const valueEnd = nameEnd < 0 ? -1 : packet.indexOf(0, nameEnd + 1)
    if (valueEnd < 0) break // refused just below, as Postgres does
    const name = utf8(packet, at, nameEnd)
    const read = name === APPLICATION_NAME ? spelled : utf8
    takeParameter(startup, name, read(packet, nameEnd + 1, valueEnd))
    at = valueEnd + 1
  }
  if (at !== packet.length - 1) {
    throw fatal('invalid startup packet layout: expected terminator as last byte')
  }
  return withDefaults(startup)
}

function takeParameter(startup: StartupMessage, name: string, value: string): void {
  if (name === 'user') startup.user = value
  else if (name === 'database') startup.database = value
  else if (name === 'options') startup.options = value
  else if (name === 'replication') startup.replication = replicationMode(value)
  else if (name.startsWith('_pq_.')) startup.protocolOptions.push(name)
  else startup.settings.push([name, value])
}

function withDefaults(startup: StartupMessage): StartupMessage {
  if (startup.user === '') {
    const message = 'no PostgreSQL user name specified in startup packet'
    throw new PgError('invalid_authorization_specification', message, { severity: 'FATAL' })
  }
  if (startup.database === '') startup.database = startup.user
  startup.user = truncated(startup.user)
  startup.database = startup.replication === true ? '' : truncated(startup.database)
  return startup
}

function replicationMode(value: string): boolean | 'database' {
  if (value === 'database') return 'database'
  const word = value.toLowerCase()
  const means = (full: string, atLeast = 1) => word.length >= atLeast && full.startsWith(word)
  if (means('true') || means('yes') || means('on', 2) || means('1')) return true
  if (means('false') || means('no') || means('off', 2) || means('0')) return false
  throw new PgError(
    'invalid_parameter_value',
    `invalid value for parameter "replication": "${value}"`,
    { severity: 'FATAL', hint: 'Valid values are: "false", 0, "true", 1, "database".' },
  )
}

/** Cut to the bytes a name can have, as Postgres cuts; a character cut in two is dropped whole. */
function truncated(name: string): string {
  if (Buffer.byteLength(name) <= NAME_BYTES_MAX) return name
  const bytes = Buffer.from(name)
  let end = NAME_BYTES_MAX
  while ((bytes[end]! & 0xc0) === 0x80) end -= 1
  return bytes.toString('utf8', 0, end)
}

const APPLICATION_NAME = 'application_name'

/** A text for people: what is no UTF-8 of it is spelled as Postgres spells it (pg_clean_ascii). */
function spelled(bytes: Buffer, start: number, end: number): string {
  const value = bytes.subarray(start, end)
  if (isUtf8(value)) return value.toString()
  const plain = (byte: number): boolean => byte >= 0x20 && byte <= 0x7e
  const spell = (byte: number): string =>
    plain(byte) ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`
  return Array.from(value, spell).join('')
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Strict, because names decide who somebody is: a lenient reading maps many byte strings to one.
 */
function utf8(bytes: Buffer, start: number, end: number): string {
  try {
    return strictUtf8.decode(bytes.subarray(start, end))
  } catch (cause) {
    const message = 'invalid byte sequence for encoding "UTF8" in startup packet'
    throw new PgError('character_not_in_repertoire', message, { severity: 'FATAL', cause })
  }
}
