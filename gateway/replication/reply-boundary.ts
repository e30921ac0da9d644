// Where the client stands in the backend's messages: whether something of our own may be said, and
// which reported settings have changed. Looks at five bytes of a message, and at the whole of a
// ParameterStatus.

import { Backend } from '../../shared/pgwire/message-types.ts'

const HEADER_BYTES = 5
/** No setting that anybody looks at is reported with more. */
const STATUS_BYTES_MAX = 4096

export class ReplyBoundary {
  readonly #onStatus: (name: string, value: string) => void
  readonly #header = Buffer.alloc(HEADER_BYTES)
  #held = 0 // bytes of the header seen
  #left = 0 // bytes of the body to come
  #status: Buffer[] | undefined

  constructor(onStatus: (name: string, value: string) => void) {
    this.#onStatus = onStatus
  }

  /** No message is under way. */
  get onBoundary(): boolean {
    return this.#held === 0 && this.#left === 0
  }

  /** The last whole message was an ErrorResponse: the client knows why it ends. */
  get saidError(): boolean {
    return this.onBoundary && this.#header[0] === Backend.ErrorResponse
  }

  /** Bytes that go to the client. */
  feed(bytes: Buffer, start: number, end: number): void {
    for (let at = start; at < end;) {
      if (this.#left > 0) {
        const next = Math.min(end, at + this.#left)
        this.#status?.push(Buffer.from(bytes.subarray(at, next)))
        this.#left -= next - at
        at = next
      } else {
        this.#header[this.#held++] = bytes[at++] as number
        if (this.#held < HEADER_BYTES) continue
        this.#held = 0
        this.#left = this.#header.readInt32BE(1) - 4
        const looks = this.#header[0] === Backend.ParameterStatus && this.#left <= STATUS_BYTES_MAX
        this.#status = looks ? [] : undefined
      }
      if (this.#left === 0 && this.#held === 0) this.#whole()
    }
  }

  #whole(): void {
    const status = this.#status
    this.#status = undefined
    if (status === undefined) return
    const [name = '', value = ''] = Buffer.concat(status).toString('utf8').split('\0')
    this.#onStatus(name, value)
  }
}
