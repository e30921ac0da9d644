import { PgError } from '../../shared/errors/pg-error.ts'
import { MessageReader } from '../../shared/pgwire/message-reader.ts'
import { StartupReader, type StartupPacket } from '../../shared/pgwire/startup-packet.ts'

/** Postgres's PG_MAX_AUTH_TOKEN_LENGTH: a client that is not in yet sends nothing larger. */
const AUTH_MESSAGE_BYTES_MAX = 65_535

/**
 * What a client sends before it is in, awaited packet by packet. Nothing here is hot: a client
 * comes by once.
 */
export class Intake {
  readonly #startup = new StartupReader()
  readonly #reader = new MessageReader({ messageBytesMax: AUTH_MESSAGE_BYTES_MAX })
  readonly #nextMessage = (): number | undefined => this.#reader.next()
  #wake: (() => void) | undefined
  #closed = false
  #bytes = 0

  /** Bytes from the client. */
  feed(chunk: Buffer, authenticating: boolean): void {
    this.#bytes += chunk.length
    if (authenticating) this.#reader.feed(chunk)
    else this.#startup.feed(chunk)
    this.#wake?.()
  }

  /** Bytes fed in all. */
  get bytes(): number {
    return this.#bytes
  }

  /** The client is gone: whoever waits is told. */
  close(): void {
    this.#closed = true
    this.#wake?.()
  }

  /** The next startup packet; undefined when the client went without one. */
  startupPacket(): Promise<StartupPacket | undefined> {
    return this.#await(() => this.#startup.next())
  }

  /** What was sent behind the last startup packet. */
  takeRest(): Buffer {
    return this.#startup.takeRest()
  }

  /** The next message of an authentication exchange, whose reader stands on it. */
  async message(): Promise<MessageReader> {
    if ((await this.#await(this.#nextMessage)) === undefined) {
      throw new PgError('connection_failure', 'the client is gone', { severity: 'FATAL' })
    }
    return this.#reader
  }

  /** What was sent behind the last message: the session's. */
  takeMessages(): Buffer {
    const reader = this.#reader
    if (reader.buffered === 0) return Buffer.alloc(0)
    const parts: Buffer[] = []
    while (reader.next() !== undefined) parts.push(Buffer.from(reader.message()))
    const { buffer, end } = reader
    if (reader.buffered > 0) parts.push(Buffer.from(buffer.subarray(end, end + reader.buffered)))
    return Buffer.concat(parts)
  }

  /** One promise, however many pieces it comes in. */
  #await<T>(next: () => T | undefined): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.#wake = () => {
        try {
          const value = next()
          if (value === undefined && !this.#closed) return
          resolve(value)
        } catch (error) {
          reject(error as Error)
        }
        this.#wake = undefined
      }
      this.#wake()
    })
  }
}
