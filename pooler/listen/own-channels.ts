// Gives a backend the channels that its session has heard through the shared connection, so that
// SQL finds them where it looks: pg_listening_channels(), UNLISTEN in any place.
//
// The queue of notifications is one for the whole server. A transaction that listens on the backend
// puts a mark into the queue as it commits. What stands before the mark the session hears from the
// shared connection, what stands behind it from the backend: each once, in order.
import { Flag } from '../../shared/link/frame.ts'
import { bind, close, execute, parse, sync } from '../../shared/pgwire/frontend.ts'
import { MessageReader } from '../../shared/pgwire/message-reader.ts'
import { Backend as Message, TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { Backend } from '../backend/backend.ts'
import type { BackendOwner } from '../backend/backend-parties.ts'
import { quotedChannel } from './channel-name.ts'

/** The channel of marks. */
export const MARK_CHANNEL = 'multigres: move'
/** A statement name that no gateway uses: the unnamed one is the client's. */
const STATEMENT = 'mg:!listen'
const MESSAGE_BYTES_MAX = 1024 * 1024
const PID_BYTES = 4

/** How it ended. */
export type OwnChannelsEnd = {
  readonly done: boolean
  /** Notifications behind the mark; more come until the backend begins a batch. */
  readonly heard: readonly Buffer[]
}

/** The unit under way on one backend. */
export class OwnChannels implements BackendOwner {
  readonly #backend: Backend
  readonly #mark: string
  readonly #ended: (end: OwnChannelsEnd) => void
  readonly #reader = new MessageReader({ messageBytesMax: MESSAGE_BYTES_MAX })
  readonly #heard: Buffer[] = []
  #marked = false
  #last = false
  #failed = false

  constructor(
    backend: Backend,
    { channels, mark }: { channels: readonly string[]; mark: string },
    ended: (end: OwnChannelsEnd) => void,
  ) {
    this.#backend = backend
    this.#mark = mark
    this.#ended = ended
    const quoted = quotedChannel(MARK_CHANNEL)
    this.#run([
      'BEGIN',
      ...[...channels, MARK_CHANNEL].map((channel) => `LISTEN ${quotedChannel(channel)}`),
      `NOTIFY ${quoted}, '${mark}'`,
      'COMMIT',
    ])
  }

  backendData(bytes: Buffer, start: number, end: number, flags: number): void {
    if ((flags & Flag.Error) !== 0) this.#failed = true
    const reader = this.#reader
    reader.feed(Buffer.from(bytes.subarray(start, end)))
    for (let type = reader.next(); type !== undefined; type = reader.next()) {
      if (type === Message.NotificationResponse) this.#notified(reader)
    }
  }

  /** It stays the owner: the backend may be told more before the session's batch begins. */
  backendReady(status: number): void {
    const done = !this.#failed && this.#marked && status === TransactionStatus.Idle
    if (!done || this.#last) return this.#ended({ done, heard: this.#heard })
    // Notifications are told when a batch is over: only now the mark has been.
    this.#last = true
    this.#run([`UNLISTEN ${quotedChannel(MARK_CHANNEL)}`])
  }

  backendKeeps(): boolean {
    return false
  }

  backendDrained(): void {}

  backendCancelDone(): void {}

  backendLost(): void {
    this.#ended({ done: false, heard: [] })
  }

  #run(texts: readonly string[]): void {
    const messages = statements(texts)
    this.#backend.beginBatch(this)
    this.#backend.write(messages, 0, messages.length)
  }

  #notified(reader: MessageReader): void {
    reader.view(PID_BYTES)
    const channel = reader.cstring()
    if (channel !== MARK_CHANNEL) {
      if (this.#marked) this.#heard.push(reader.message())
    } else if (reader.cstring() === this.#mark) {
      this.#marked = true
    }
  }
}

function statements(texts: readonly string[]): Buffer {
  const forget = close({ statement: STATEMENT })
  const messages = texts.flatMap((text) => [
    forget,
    parse(text, { name: STATEMENT }),
    bind({ statement: STATEMENT }),
    execute(),
  ])
  return Buffer.concat([...messages, forget, sync()])
}
