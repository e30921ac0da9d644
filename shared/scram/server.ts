import { createHmac } from 'node:crypto'
import { PgError } from '../errors/pg-error.ts'
import { AttributeReader, decodeBase64, isNonce, malformed } from './attributes.ts'
import {
  CHANNEL_BINDING_TYPE,
  KEY_BYTES,
  sameSecret,
  SCRAM_SHA_256,
  SCRAM_SHA_256_PLUS,
  secretBytes,
  signature,
  storedKeyOf,
  xor,
} from './keys.ts'
import { ITERATIONS_DEFAULT, SALT_BYTES, type ScramVerifier } from './verifier.ts'

const NONCE_BYTES = 18 // 24 characters, as Postgres

export type ScramServerOptions = {
  /** Undefined for a user that does not exist or has none: the exchange then fails at its end. */
  verifier: ScramVerifier | undefined
  /** The role asked for, and what its fake salt is made from. */
  user: string
  /** The cluster's secret for fake salts: the same one always, else who asks twice can tell. */
  mockSecret: Uint8Array
  /**
   * Channel binding data of the certificate presented on this connection; given, PLUS is offered.
   */
  channelBinding?: Uint8Array | undefined
  /** Printable ASCII without comma, only for tests. */
  nonce?: string
}

/** A client that has proven that it knows the secret. */
export type ScramSuccess = {
  /** Data of AuthenticationSASLFinal. */
  serverFinal: Buffer
  /** The recovered ClientKey: logs in wherever the role has the same verifier. Keep it secret. */
  clientKey: Buffer
}

/**
 * The server's side of one SCRAM-SHA-256 exchange: `serverFirst`, then `finish`. No I/O. Refuses
 * in Postgres's words; a wrong proof is the one thing that is not an exception, because it looks
 * the same for users that exist and users that do not. Source: RFC 5802, RFC 7677.
 */
export class ScramServer {
  /** What to offer in AuthenticationSASL, best first. */
  readonly mechanisms: readonly string[]
  readonly #verifier: ScramVerifier
  readonly #known: boolean
  readonly #channelBinding: Uint8Array | undefined
  readonly #serverNonce: string
  #plus = false
  #gs2Header = ''
  #nonce = ''
  #messages = '' // the part of AuthMessage known so far

  constructor(options: ScramServerOptions) {
    this.#known = options.verifier !== undefined
    this.#verifier = options.verifier ?? mockVerifier(options.user, options.mockSecret)
    this.#channelBinding = options.channelBinding
    this.#serverNonce = options.nonce ?? secretBytes(NONCE_BYTES).toString('base64')
    this.mechanisms =
      options.channelBinding === undefined ? [SCRAM_SHA_256] : [SCRAM_SHA_256_PLUS, SCRAM_SHA_256]
  }

  /**
   * Takes SASLInitialResponse; returns the data of AuthenticationSASLContinue. A client may send
   * no response with it (null): answer with empty data and call again with its next SASLResponse.
   * @throws PgError protocol_violation, feature_not_supported, invalid_authorization_specification.
   */
  serverFirst(mechanism: string, clientFirst: Uint8Array): Buffer {
    if (!this.mechanisms.includes(mechanism)) {
      throw refused('client selected an invalid SASL authentication mechanism')
    }
    this.#plus = mechanism === SCRAM_SHA_256_PLUS
    const text = textOf(clientFirst)
    const bareAt = this.#readGs2Header(text)
    if (text[bareAt] === 'm') {
      throw refused('client requires an unsupported SCRAM extension', 'feature_not_supported')
    }
    const reader = new AttributeReader(text, bareAt)
    reader.expect('n') // the user is the startup packet's, as in Postgres
    const clientNonce = reader.expect('r')
    if (!isNonce(clientNonce)) throw refused('non-printable characters in SCRAM nonce')
    while (!reader.done) reader.next() // extensions, all optional
    this.#nonce = clientNonce + this.#serverNonce
    const { salt, iterations } = this.#verifier
    const serverFirst = `r=${this.#nonce},s=${salt.toString('base64')},i=${iterations}`
    this.#messages = `${text.slice(bareAt)},${serverFirst}`
    return Buffer.from(serverFirst)
  }

  /**
   * Takes client-final-message. Undefined when the proof is wrong or the user unknown: answer with
   * 28P01. @throws PgError protocol_violation, invalid_authorization_specification.
   */
  finish(clientFinal: Uint8Array): ScramSuccess | undefined {
    const { proof, withoutProof } = this.#readClientFinal(textOf(clientFinal))
    const authMessage = `${this.#messages},${withoutProof}`
    const { storedKey, serverKey } = this.#verifier
    const clientKey = xor(proof, signature(storedKey, authMessage))
    const serverSignature = signature(serverKey, authMessage)
    // Both are looked at, whatever the first says, so that neither shows in the time taken.
    const proven = sameSecret(storedKeyOf(clientKey), storedKey)
    if (!proven || !this.#known) return undefined
    return { serverFinal: Buffer.from(`v=${serverSignature.toString('base64')}`), clientKey }
  }

  /** Reads `flag,authzid,`; returns where the rest begins. Source: RFC 5802, section 7. */
  #readGs2Header(text: string): number {
    const flagEnd = text.indexOf(',')
    this.#checkFlag(flagEnd < 0 ? text : text.slice(0, flagEnd))
    if (text[flagEnd + 1] === 'a') {
      const message = 'client uses authorization identity, but it is not supported'
      throw refused(message, 'feature_not_supported')
    }
    if (flagEnd < 0 || text[flagEnd + 1] !== ',') {
      throw malformed('Unexpected attribute in client-first-message.')
    }
    this.#gs2Header = text.slice(0, flagEnd + 2)
    return flagEnd + 2
  }

  #checkFlag(flag: string): void {
    if (flag === 'n' || flag === 'y') {
      if (this.#plus) {
        const detail = 'but the SCRAM message does not include channel binding data.'
        throw malformed(`The client selected ${SCRAM_SHA_256_PLUS}, ${detail}`)
      }
      if (flag === 'y' && this.#channelBinding !== undefined) throw downgraded()
      return
    }
    if (!flag.startsWith('p=')) throw malformed('Unexpected channel-binding flag.')
    if (!this.#plus) {
      const detail = 'but the SCRAM message includes channel binding data.'
      throw malformed(`The client selected ${SCRAM_SHA_256} without channel binding, ${detail}`)
    }
    if (flag !== `p=${CHANNEL_BINDING_TYPE}`) {
      throw refused(`unsupported SCRAM channel-binding type "${printable(flag.slice(2))}"`)
    }
  }

  #readClientFinal(text: string): { proof: Buffer; withoutProof: string } {
    const reader = new AttributeReader(text)
    this.#checkBinding(reader.expect('c'))
    const nonce = Buffer.from(reader.expect('r'))
    if (!sameSecret(nonce, Buffer.from(this.#nonce))) {
      const detail = 'Nonce does not match.'
      const options = { severity: 'FATAL', detail } as const
      throw new PgError('protocol_violation', 'invalid SCRAM response', options)
    }
    let proofAt = reader.position
    let attribute = reader.next()
    while (attribute.name !== 'p') {
      proofAt = reader.position
      attribute = reader.next()
    }
    const proof = decodeBase64(attribute.value)
    if (proof?.length !== KEY_BYTES) throw malformed('Malformed proof in client-final-message.')
    if (!reader.done) throw malformed('Garbage found at the end of client-final-message.')
    return { proof, withoutProof: text.slice(0, proofAt - 1) }
  }

  /** The client repeats its header, signed this time, with the binding data behind it. */
  #checkBinding(value: string): void {
    const data = this.#plus ? this.#channelBinding! : Buffer.alloc(0)
    const expected = Buffer.concat([Buffer.from(this.#gs2Header), data]).toString('base64')
    if (sameSecret(Buffer.from(value), Buffer.from(expected))) return
    if (this.#plus) {
      const message = 'SCRAM channel binding check failed'
      throw refused(message, 'invalid_authorization_specification')
    }
    throw refused('unexpected SCRAM channel-binding attribute in client-final-message')
  }
}

/**
 * What an exchange with an unknown user is held with: a salt that is always the same for a name,
 * keys that no proof fits.
 */
export function mockVerifier(user: string, mockSecret: Uint8Array): ScramVerifier {
  const salt = createHmac('sha256', mockSecret).update(user).digest().subarray(0, SALT_BYTES)
  const keys = { storedKey: secretBytes(KEY_BYTES), serverKey: secretBytes(KEY_BYTES) }
  return { iterations: ITERATIONS_DEFAULT, salt, ...keys }
}

function textOf(message: Uint8Array): string {
  if (message.length === 0) throw malformed('The message is empty.')
  if (message.includes(0)) throw malformed('Message length does not match input length.')
  return Buffer.from(message).toString('utf8')
}

function downgraded(): PgError {
  const message = 'SCRAM channel binding negotiation error'
  const detail =
    'The client supports SCRAM channel binding but thinks the server does not.  ' +
    'However, this server does support channel binding.'
  const options = { severity: 'FATAL', detail } as const
  return new PgError('invalid_authorization_specification', message, options)
}

function refused(message: string, condition: PgError['condition'] = 'protocol_violation'): PgError {
  return new PgError(condition, message, { severity: 'FATAL' })
}

function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '?')
}
