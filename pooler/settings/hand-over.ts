// Makes a backend hold what a session holds, before the session's first batch on it. It ends by
// itself: a session that gives up (a cancel, its end) takes its hands off, and the backend goes to
// the next. One that failed holds nobody knows what: its owner closes it.
import { Flag } from '../../shared/link/frame.ts'
import { MessageReader } from '../../shared/pgwire/message-reader.ts'
import { Backend as Message } from '../../shared/pgwire/message-types.ts'
import type { Backend } from '../backend/backend.ts'
import type { BackendOwner } from '../backend/backend-parties.ts'

/** An ErrorResponse is kept up to this. */
const ERROR_BYTES_MAX = 16 * 1024

/** How it ended; an undefined error: the connection was lost. */
export type HandOverEnd = { done: true } | { done: false; error: Buffer | undefined }

/** The unit under way on one backend. */
export class HandOver implements BackendOwner {
  readonly #backend: Backend
  readonly #messages: readonly Buffer[]
  /** It leaves the transaction as it is. */
  readonly #status: number
  readonly #ended: (end: HandOverEnd) => void
  readonly #heard: ((message: Buffer) => void) | undefined
  #reader: MessageReader | undefined
  #next = 0
  #error: Buffer | undefined

  /** `heard` gets the notifications that come meanwhile, whole messages. */
  constructor(
    backend: Backend,
    messages: readonly Buffer[],
    ended: (end: HandOverEnd) => void,
    heard?: (message: Buffer) => void,
  ) {
    this.#backend = backend
    this.#heard = heard
    this.#status = backend.status
    this.#messages = messages
    this.#ended = ended
    this.#step()
  }

  backendData(bytes: Buffer, start: number, end: number, flags: number): void {
    if (this.#heard !== undefined) this.#hear(bytes, start, end, this.#heard)
    if ((flags & Flag.Error) === 0 || this.#error !== undefined) return
    this.#error = errorIn(bytes, start, Math.min(end, start + ERROR_BYTES_MAX))
  }

  #hear(bytes: Buffer, start: number, end: number, heard: (message: Buffer) => void): void {
    this.#reader ??= new MessageReader({ messageBytesMax: ERROR_BYTES_MAX })
    this.#reader.feed(Buffer.from(bytes.subarray(start, end)))
    for (let type = this.#reader.next(); type !== undefined; type = this.#reader.next()) {
      if (type === Message.NotificationResponse) heard(this.#reader.message())
    }
  }

  backendReady(status: number): void {
    if (this.#error === undefined && this.#next < this.#messages.length) return this.#step()
    this.#backend.owner = undefined
    const done = this.#error === undefined && status === this.#status
    this.#ended(done ? { done } : { done: false, error: this.#error })
  }

  backendKeeps(): boolean {
    return false
  }

  backendDrained(): void {}

  backendCancelDone(): void {}

  backendLost(): void {
    this.#ended({ done: false, error: undefined })
  }

  #step(): void {
    const message = this.#messages[this.#next++] as Buffer
    this.#backend.beginBatch(this)
    this.#backend.write(message, 0, message.length)
  }
}

/** The whole ErrorResponse among the messages bytes[start, end); empty when none is whole. */
function errorIn(bytes: Buffer, start: number, end: number): Buffer {
  for (let at = start; at + 5 <= end;) {
    const next = at + 1 + bytes.readInt32BE(at + 1)
    if (next <= at || next > end) break
    if (bytes[at] === Message.ErrorResponse) return Buffer.from(bytes.subarray(at, next))
    at = next
  }
  return Buffer.alloc(0)
}
