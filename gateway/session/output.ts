// What a client has not read yet.
//
// Bytes go straight to the socket; what it does not take is copied here and goes first when it
// drains. The stream's window bounds it: credit is given back only for what the socket took.

import type { ClientSocket } from '../client/client-socket.ts'

export class Output {
  /** Bytes that wait for the socket. */
  waiting = 0
  /** Bytes written in all. */
  written = 0
  readonly #socket: ClientSocket
  #chunks: Buffer[] | undefined // most clients never have any
  #first = 0 // bytes of the first chunk that are written

  constructor(socket: ClientSocket) {
    this.#socket = socket
  }

  /** Writes `bytes[start, end)`; copies what does not go out now. */
  write(bytes: Buffer, start: number, end: number): void {
    let at = start
    if (this.waiting === 0) {
      const taken = this.#socket.write(bytes, start, end - start)
      if (taken > 0) {
        this.written += taken
        at += taken
      }
      if (at === end) return
    }
    this.#chunks ??= []
    this.#chunks.push(Buffer.from(bytes.subarray(at, end)))
    this.waiting += end - at
  }

  /** The socket takes bytes again. True when nothing waits any more. */
  drain(): boolean {
    const chunks = this.#chunks ?? []
    for (let chunk = chunks[0]; chunk !== undefined; chunk = chunks[0]) {
      const left = chunk.length - this.#first
      const taken = Math.max(0, this.#socket.write(chunk, this.#first, left))
      this.written += taken
      this.waiting -= taken
      if (taken < left) {
        this.#first += taken
        return false
      }
      this.#first = 0
      chunks.shift()
    }
    this.#chunks = undefined
    return true
  }

  /** The client is gone. */
  clear(): void {
    this.#chunks = undefined
    this.waiting = this.#first = 0
  }
}
