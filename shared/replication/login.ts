import { PgError } from '../errors/pg-error.ts'
import { decodeBackend, type AuthenticationMessage } from '../pgwire/backend-decode.ts'
import { decodeErrorFields } from '../pgwire/error-fields.ts'
import { password, saslInitialResponse, saslResponse } from '../pgwire/frontend.ts'
import { Backend } from '../pgwire/message-types.ts'
import type { MessageReader } from '../pgwire/message-reader.ts'
import { ServerError } from '../pgwire/server-error.ts'
import { ScramClient, type ScramSecret } from '../scram/client.ts'

/** How to log in. */
export type LoginOptions = {
  /** Password or SCRAM keys; undefined where the server trusts us. */
  secret?: ScramSecret | undefined
  /** Gives the password away to whoever answers: only over TLS that checks certificates. */
  allowCleartext?: boolean
  /** Channel binding data, see shared/scram/channel-binding.ts. */
  channelBinding?: Uint8Array | undefined
}

/** The client's side of authentication, from the startup packet to AuthenticationOk. No I/O. */
export class Login {
  /** AuthenticationOk came, and came rightly. */
  done = false
  readonly #options: LoginOptions
  #scram: ScramClient | undefined
  #serverVerified = true

  constructor(options: LoginOptions) {
    this.#options = options
  }

  /**
   * Takes the current message of `reader`; what to send back, if anything.
   * @throws ServerError when the server refuses; PgError when it asks for what it must not get.
   */
  answer(reader: MessageReader): Buffer | undefined {
    if (reader.type === Backend.ErrorResponse) throw new ServerError(decodeErrorFields(reader))
    if (reader.type !== Backend.Authentication) return undefined // negotiation, notices
    const message = decodeBackend(reader) as AuthenticationMessage
    if (message.name === 'AuthenticationOk') return this.#accept()
    if (message.name === 'AuthenticationCleartextPassword') return this.#cleartext()
    if (message.name === 'AuthenticationSASL') return this.#startScram(message.mechanisms)
    if (message.name === 'AuthenticationSASLContinue') {
      return saslResponse(this.#exchange().clientFinal(message.data))
    }
    if (message.name === 'AuthenticationSASLFinal') return this.#finishScram(message.data)
    const method = message.name === 'AuthenticationMD5Password' ? 'md5' : 'an unknown method'
    throw refused(`the server asks for ${method}, which is not supported`)
  }

  #accept(): undefined {
    if (!this.#serverVerified) throw refused('the server skipped its part of authentication')
    this.done = true
  }

  #startScram(mechanisms: readonly string[]): Buffer {
    const { secret, channelBinding } = this.#options
    if (secret === undefined) throw refused('the server asks for a password, and none is given')
    this.#scram = new ScramClient({ ...secret, mechanisms, channelBinding })
    this.#serverVerified = false
    return saslInitialResponse(this.#scram.mechanism, this.#scram.clientFirst())
  }

  #finishScram(data: Buffer): undefined {
    this.#exchange().verify(data)
    this.#serverVerified = true
  }

  #exchange(): ScramClient {
    if (this.#scram === undefined) throw refused('the server goes on with SASL before it began')
    return this.#scram
  }

  #cleartext(): Buffer {
    const { secret, allowCleartext } = this.#options
    if (allowCleartext !== true || secret === undefined || !('password' in secret)) {
      throw refused('the server asks for the password in clear, which is not allowed')
    }
    return password(secret.password)
  }
}

function refused(message: string): PgError {
  return new PgError('invalid_authorization_specification', message, { severity: 'FATAL' })
}
