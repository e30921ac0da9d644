// Asks a backend what its session holds, once the session's batch is over. A named question that
// fails is asked once more as the whole one; when that fails too, the answer is undefined, and the
// session must be taken to hold anything.
import { Flag, Pin } from '../../shared/link/frame.ts'
import { decodeBackend } from '../../shared/pgwire/backend-decode.ts'
import { MessageReader } from '../../shared/pgwire/message-reader.ts'
import type { Backend } from '../backend/backend.ts'
import type { BackendOwner } from '../backend/backend-parties.ts'
import type { Loss } from '../backend/loss.ts'
import {
  giveUpMessages,
  lookMessages,
  readLook,
  type LookAnswer,
  type LookRequest,
  type LookRow,
} from './look-query.ts'

/** An answer is a few rows; the longest value that a look can read is near this. */
const MESSAGE_BYTES_MAX = 1024 * 1024

/** Who waits for a look. */
export interface LookOwner {
  /** The backend is nobody's; undefined: it could not be told. */
  looked(answer: LookAnswer | undefined): void
  /** A notification came meanwhile; the whole message. */
  lookHeard(message: Buffer): void
  /** The backend was lost. */
  lookLost(loss: Loss): void
}

/** One look, from its question to its answer. */
export class Look implements BackendOwner {
  readonly #backend: Backend
  readonly #owner: LookOwner
  #request: LookRequest
  readonly #reader = new MessageReader({ messageBytesMax: MESSAGE_BYTES_MAX })
  #rows: LookRow[] = []
  #failed = false
  #givingUp = false
  /** Pins that could not be asked about: without PL/pgSQL nobody can tell of sequences. */
  #kept = 0

  constructor(backend: Backend, request: LookRequest, owner: LookOwner) {
    this.#backend = backend
    this.#request = request
    this.#owner = owner
    this.#ask(lookMessages(request, false))
  }

  backendData(bytes: Buffer, start: number, end: number, flags: number): void {
    if ((flags & Flag.Error) !== 0) this.#failed = true
    this.#reader.feed(Buffer.from(bytes.subarray(start, end)))
    while (this.#reader.next() !== undefined) {
      const message = decodeBackend(this.#reader)
      if (message.name === 'DataRow') {
        this.#rows.push(message.values.map((value) => value?.toString('latin1') ?? null))
      } else if (message.name === 'NotificationResponse') {
        this.#owner.lookHeard(Buffer.from(this.#reader.message()))
      }
    }
  }

  backendReady(): void {
    if (this.#givingUp) return this.#end(undefined)
    if (!this.#failed) return this.#end(readLook(this.#request, this.#rows))
    const { names, whole, pins } = this.#request
    this.#failed = false
    this.#rows = []
    if ((pins & Pin.Sequence) !== 0) {
      this.#kept = Pin.Sequence
      this.#request = { ...this.#request, pins: pins & ~Pin.Sequence }
    } else {
      this.#givingUp = names === undefined || whole
      this.#request = { ...this.#request, whole: true }
    }
    this.#ask(this.#givingUp ? giveUpMessages() : lookMessages(this.#request, true))
  }

  backendKeeps(): boolean {
    return false
  }

  backendDrained(): void {}

  backendCancelDone(): void {}

  backendLost(loss: Loss): void {
    this.#owner.lookLost(loss)
  }

  #ask(messages: Buffer): void {
    this.#backend.beginBatch(this)
    this.#backend.write(messages, 0, messages.length)
  }

  #end(answer: LookAnswer | undefined): void {
    this.#backend.owner = undefined
    this.#owner.looked(answer && { ...answer, pins: answer.pins | this.#kept })
  }
}
