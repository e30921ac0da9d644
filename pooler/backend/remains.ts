// What is left of a backend that was given up in the middle of a batch: a connection that nobody
// has and that says nothing to a client. Postgres may still run the batch, commit it and wait for
// its standbys, for as long as they are away; whoever ends that wait makes the commit visible to
// all. Postgres tells of it over this connection alone, so it is listened to until it ends.
import { PgError } from '../../shared/errors/pg-error.ts'
import type { MessageScanner } from '../../shared/pgwire/message-scanner.ts'
import { Backend as Message } from '../../shared/pgwire/message-types.ts'
import type { Barrier } from './barrier.ts'
import { tellsOfUnconfirmedCommit } from './unconfirmed-commit.ts'

/** A result that nobody reads would otherwise never stall: Postgres then hears that we are gone. */
const BYTES_MAX = 64 * 1024 * 1024

/** Whoever a connection with Postgres belongs to at the moment. */
export interface SocketUser {
  onOpen(socket: Bun.Socket<SocketUser>): void
  onData(chunk: Buffer): void
  onDrain(): void
  onClose(): void
}

/** Takes `socket` over; `scanner` has seen all that came, but for `unseen`. */
export class Remains implements SocketUser {
  readonly #socket: Bun.Socket<SocketUser>
  readonly #scanner: MessageScanner
  readonly #barrier: Barrier
  #bytes = 0

  constructor(
    socket: Bun.Socket<SocketUser>,
    of: {
      readonly scanner: MessageScanner
      readonly barrier: Barrier
      readonly unseen: readonly Buffer[]
    },
  ) {
    this.#socket = socket
    this.#scanner = of.scanner
    this.#barrier = of.barrier
    socket.data = this
    socket.unref()
    socket.resume()
    socket.shutdown() // Postgres ends it when it comes to read
    this.#look(() => this.#scan()) // of the chunk in which it was given up
    for (const chunk of of.unseen) this.onData(chunk)
  }

  onOpen(): void {}

  onData(chunk: Buffer): void {
    this.#bytes += chunk.length
    this.#look(() => {
      this.#scanner.feed(chunk)
      return this.#scan() || this.#bytes > BYTES_MAX
    })
  }

  onDrain(): void {}

  onClose(): void {}

  #look(ends: () => boolean): void {
    try {
      if (ends()) this.#socket.terminate()
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      this.#socket.terminate() // no message of Postgres's: nothing can be heard any more
    }
  }

  /** True once the batch is over. */
  #scan(): boolean {
    const scanner = this.#scanner
    for (let type = scanner.next(); type !== 0; type = scanner.next()) {
      if (type === Message.ReadyForQuery) return true
      if (type !== Message.NoticeResponse || !scanner.whole) continue
      const { bytes, bodyStart, end } = scanner
      if (tellsOfUnconfirmedCommit(bytes, bodyStart, end)) this.#barrier.raise()
    }
    return false
  }
}
