import { randomBytes } from 'node:crypto'
import { PgError } from '../errors/pg-error.ts'
import { AttributeReader, decodeBase64, isNonce } from './attributes.ts'
import {
  CHANNEL_BINDING_TYPE,
  clientKeyOf,
  KEY_BYTES,
  saltedPassword,
  sameSecret,
  SCRAM_SHA_256,
  SCRAM_SHA_256_PLUS,
  serverKeyOf,
  signature,
  storedKeyOf,
  xor,
} from './keys.ts'

/** What a server may make us stretch a password by: about half a second, during which all waits. */
const ITERATIONS_MAX = 1_000_000
const NONCE_BYTES = 18 // 24 characters, as libpq

/**
 * How a client knows the secret: by the password, or by the ClientKey that a login of the same
 * user left behind (see ScramServer). With a ClientKey the ServerKey of the verifier lets the
 * client check that the server knows it too; without one the server is taken at its word.
 */
export type ScramSecret = { password: string } | { clientKey: Uint8Array; serverKey?: Uint8Array }

export type ScramClientOptions = ScramSecret & {
  /** What AuthenticationSASL offers. Default: SCRAM-SHA-256 alone. */
  mechanisms?: readonly string[]
  /** Channel binding data, when the connection has TLS and its certificate gives some. */
  channelBinding?: Uint8Array | undefined
  /** Postgres ignores it, the startup packet names the user; '' by default, as libpq. */
  user?: string
  /** Printable ASCII without comma, only for tests. */
  nonce?: string
}

/**
 * The client's side of one SCRAM-SHA-256 exchange: `clientFirst`, `clientFinal`, `verify`, in that
 * order. No I/O. Source: RFC 5802, RFC 7677.
 */
export class ScramClient {
  /** The mechanism to name in SASLInitialResponse. */
  readonly mechanism: typeof SCRAM_SHA_256 | typeof SCRAM_SHA_256_PLUS
  readonly #secret: ScramSecret
  readonly #gs2Header: string
  readonly #bindingInput: Buffer
  readonly #nonce: string
  readonly #bare: string // client-first-message-bare
  #serverSignature: Buffer | undefined
  #finished = false

  /** @throws PgError feature_not_supported when the server offers no mechanism known here. */
  constructor(options: ScramClientOptions) {
    const offered = options.mechanisms ?? [SCRAM_SHA_256]
    const binding = options.channelBinding
    this.#secret = options
    this.#nonce = options.nonce ?? randomBytes(NONCE_BYTES).toString('base64')
    const user = (options.user ?? '').replaceAll('=', '=3D').replaceAll(',', '=2C')
    this.#bare = `n=${user},r=${this.#nonce}`
    this.mechanism =
      binding !== undefined && offered.includes(SCRAM_SHA_256_PLUS)
        ? SCRAM_SHA_256_PLUS
        : SCRAM_SHA_256
    if (!offered.includes(this.mechanism)) {
      const message = `the server offers no usable SASL mechanism: ${offered.join(', ')}`
      throw new PgError('feature_not_supported', message, { severity: 'FATAL' })
    }
    // 'y' says: we could bind, you seem not to. A server that can then knows of a man in the
    // middle.
    const plus = this.mechanism === SCRAM_SHA_256_PLUS
    const flag = plus ? `p=${CHANNEL_BINDING_TYPE}` : binding === undefined ? 'n' : 'y'
    this.#gs2Header = `${flag},,`
    this.#bindingInput = Buffer.concat([
      Buffer.from(this.#gs2Header),
      plus && binding !== undefined ? binding : Buffer.alloc(0),
    ])
  }

  /** client-first-message, the data of SASLInitialResponse. */
  clientFirst(): Buffer {
    return Buffer.from(this.#gs2Header + this.#bare)
  }

  /**
   * client-final-message, the answer to AuthenticationSASLContinue's data.
   * @throws PgError protocol_violation when the server's message is not as it has to be.
   */
  clientFinal(serverFirst: Uint8Array): Buffer {
    const text = Buffer.from(serverFirst).toString('utf8')
    const { nonce, salt, iterations } = this.#readServerFirst(text)
    const withoutProof = `c=${this.#bindingInput.toString('base64')},r=${nonce}`
    const authMessage = `${this.#bare},${text},${withoutProof}`
    const { clientKey, serverKey } = this.#keys(salt, iterations)
    if (serverKey !== undefined) this.#serverSignature = signature(serverKey, authMessage)
    const proof = xor(clientKey, signature(storedKeyOf(clientKey), authMessage))
    this.#finished = true
    return Buffer.from(`${withoutProof},p=${proof.toString('base64')}`)
  }

  /**
   * Checks server-final-message, the data of AuthenticationSASLFinal. AuthenticationOk counts only
   * after this: without it any server could pretend to have checked.
   * @throws PgError invalid_password when the server refuses or does not know the verifier.
   */
  verify(serverFinal: Uint8Array): void {
    const reader = new AttributeReader(Buffer.from(serverFinal).toString('utf8'))
    const { name, value } = reader.next()
    if (name === 'e') throw refused(`the server refused the SCRAM exchange: ${value}`)
    const sent = name === 'v' ? decodeBase64(value) : undefined
    if (!this.#finished || sent?.length !== KEY_BYTES)
      throw broken('malformed server-final-message')
    if (this.#serverSignature !== undefined && !sameSecret(sent, this.#serverSignature)) {
      throw refused('the server does not know the password: its SCRAM signature is wrong')
    }
  }

  #readServerFirst(text: string): { nonce: string; salt: Buffer; iterations: number } {
    const reader = new AttributeReader(text)
    const nonce = reader.expect('r')
    const salt = decodeBase64(reader.expect('s'))
    const iterations = Number(/^[1-9]\d{0,9}$/.exec(reader.expect('i'))?.[0])
    const ours = this.#nonce
    if (!isNonce(nonce) || !nonce.startsWith(ours) || nonce.length === ours.length) {
      throw broken('the nonce is not a continuation of ours')
    }
    if (salt === undefined || salt.length === 0) throw broken('malformed salt')
    if (!(iterations >= 1 && iterations <= ITERATIONS_MAX)) {
      throw broken(`iteration count not between 1 and ${ITERATIONS_MAX}`)
    }
    return { nonce, salt, iterations }
  }

  #keys(salt: Buffer, iterations: number): { clientKey: Uint8Array; serverKey?: Uint8Array } {
    if ('clientKey' in this.#secret) return this.#secret
    const salted = saltedPassword(this.#secret.password, salt, iterations)
    return { clientKey: clientKeyOf(salted), serverKey: serverKeyOf(salted) }
  }
}

function broken(why: string): PgError {
  const message = `malformed SCRAM message from the server: ${why}`
  return new PgError('protocol_violation', message, { severity: 'FATAL' })
}

function refused(message: string): PgError {
  return new PgError('invalid_password', message, { severity: 'FATAL' })
}
