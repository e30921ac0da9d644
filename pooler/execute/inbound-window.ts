import { CREDIT_BYTES_MIN, Kind, STREAM_WINDOW_BYTES } from '../../shared/link/frame.ts'
import type { LinkConnection } from '../../shared/link/link-connection.ts'
import { broken } from './stream-state.ts'

/** Counts what a gateway sends on one stream, and gives credit for what has gone on. */
export class InboundWindow {
  readonly #connection: LinkConnection
  readonly #stream: number
  #uncredited = 0 // bytes received and not given credit for
  #credited = 0 // of them, those that the next CREDIT tells
  #unwritten = 0 // of them, those that the backend's socket has not taken

  constructor(connection: LinkConnection, stream: number) {
    this.#connection = connection
    this.#stream = stream
  }

  /** Counts `bytes` against the window. @throws PgError when they exceed it. */
  received(bytes: number): void {
    this.#uncredited += bytes
    if (this.#uncredited > STREAM_WINDOW_BYTES) throw broken('the window was exceeded')
  }

  /** `bytes` of payload went to the backend; `waiting`: its socket has not taken all of them. */
  consumed(bytes: number, waiting: boolean): void {
    if (waiting) this.#unwritten += bytes
    else this.give(bytes)
  }

  /** What the backend's socket had not taken has left, or never will. */
  written(): void {
    const bytes = this.#unwritten
    this.#unwritten = 0
    if (bytes > 0) this.give(bytes)
  }

  /** `bytes` make room for as many. */
  give(bytes: number): void {
    this.#credited += bytes
    if (this.#credited < CREDIT_BYTES_MIN) return
    this.#uncredited -= this.#credited
    this.#connection.send(Kind.Credit, this.#stream, 0, 0, 0, this.#credited)
    this.#credited = 0
  }
}
