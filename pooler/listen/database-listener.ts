// The sessions of one database that listen together, and their connection.
//
// Invariants:
// - A session hears a channel from the moment on at which its LISTEN was answered; all that was
//   committed before is told by then, see listener-connection.ts.
// - A channel is given up on the connection only when nobody hears it and nobody's LISTEN of it is
//   under way.
// - When the connection is lost every session hears of it: nobody goes on in silence.
import type { Loss } from '../backend/loss.ts'
import { quotedChannel } from './channel-name.ts'
import { ChannelTable } from './channel-table.ts'
import { MARK_CHANNEL } from './own-channels.ts'
import { ListenerConnection, type ListenBatch, type ListenerShare } from './listener-connection.ts'

/** A session as its database's listener knows it. */
export interface Hearer {
  /** One NotificationResponse, shared with all who hear it: not to be written to. */
  hear(message: Buffer): void
  /** What it should have heard from here on is lost. */
  lost(loss: Loss): void
}

/** What the listeners of all databases share. */
export type ListenHost = ListenerShare & {
  socketPath(): string | undefined
  /** The process id that clients know the notifier by whose backend has `pid`. */
  sessionOf(pid: number): number
}

/** A connection that nobody listens through is closed after this long. */
const IDLE_MS = 60_000
const PID_AT = 5
const CHANNEL_AT = 9

/** One database's listener. */
export class DatabaseListener {
  readonly database: string
  readonly table = new ChannelTable<Hearer>()
  /** NotificationResponses that came, and those that were passed on. */
  heard = 0
  told = 0
  readonly #host: ListenHost
  /** LISTENs under way, by channel. */
  readonly #asked = new Map<string, number>()
  readonly #waiting = new Set<Hearer>()
  /** Who waits for a mark, by its text. */
  readonly #marked = new Map<string, () => void>()
  #marksMade = 0
  #connection: ListenerConnection | undefined
  #idleSinceMs: number

  constructor(host: ListenHost, database: string) {
    this.#host = host
    this.database = database
    this.#idleSinceMs = host.nowMs
  }

  /** Nobody listens, nor wants to. */
  get unused(): boolean {
    return this.table.sessions === 0 && this.#waiting.size === 0
  }

  get pid(): number | undefined {
    return this.#connection?.pid
  }

  get connected(): boolean {
    return this.#connection !== undefined
  }

  /** Runs the LISTEN of a session; without an answer it was not run. False: not here, not now. */
  listen(hearer: Hearer, channel: string, batch: ListenBatch): boolean {
    const connection = this.#connect()
    if (connection === undefined) return false
    const done = (answer: Buffer, failed: boolean): void => {
      const wanted = this.#waiting.delete(hearer)
      this.#count(channel, -1)
      if (wanted && !failed) this.table.add(hearer, channel)
      else this.#giveUp([channel])
      if (wanted) batch.done(answer, failed)
    }
    if (!connection.run({ ...batch, done })) return false
    this.#waiting.add(hearer)
    this.#count(channel, 1)
    return true
  }

  /** The session hears `channel` no more; undefined: none at all. */
  unlisten(hearer: Hearer, channel: string | undefined): void {
    if (channel === undefined) this.#giveUp(this.table.removeAll(hearer))
    else if (this.table.remove(hearer, channel)) this.#giveUp([channel])
  }

  /** The session is over. */
  leave(hearer: Hearer): void {
    this.#waiting.delete(hearer)
    this.unlisten(hearer, undefined)
  }

  /** Calls back when all that is committed by now was told; never when the connection is lost. */
  barrier(done: () => void): void {
    this.#connection?.barrier(done)
  }

  /**
   * `then` is told a mark once it is listened for; `passed` is called when that mark comes by.
   * Neither is when the connection is lost.
   */
  awaitMark(then: (mark: string) => void, passed: () => void): void {
    const mark = `${this.#connection?.pid}.${++this.#marksMade}`
    this.#marked.set(mark, passed)
    this.#connection?.execute(`LISTEN ${quotedChannel(MARK_CHANNEL)}`)
    this.barrier(() => then(mark))
  }

  #passMark(message: Buffer): void {
    const start = message.indexOf(0, CHANNEL_AT) + 1
    const mark = message.toString('latin1', start, message.length - 1)
    const passed = this.#marked.get(mark)
    this.#marked.delete(mark)
    passed?.()
  }

  #notified(message: Buffer, channel: string): void {
    if (channel === MARK_CHANNEL) this.#passMark(message)
    this.heard++
    message.writeInt32BE(this.#host.sessionOf(message.readInt32BE(PID_AT)), PID_AT)
    for (const hearer of this.table.listeners(channel)) {
      this.told++
      hearer.hear(message)
    }
  }

  #lost(loss: Loss): void {
    this.#connection = undefined
    this.#asked.clear()
    this.#marked.clear()
    const all = new Set([...this.table.allSessions(), ...this.#waiting])
    for (const hearer of all) {
      this.leave(hearer)
      hearer.lost(loss)
    }
  }

  /** Gives the connection up; every session hears of it at once. */
  close(loss: Loss): void {
    this.#connection?.close()
    this.#lost(loss)
  }

  tick(nowMs: number, limitMs: number): void {
    this.#connection?.check(nowMs, limitMs)
    if (!this.unused) this.#idleSinceMs = nowMs
    else if (nowMs - this.#idleSinceMs >= IDLE_MS) this.closeIdle()
  }

  /** Closes a connection that nobody uses. */
  closeIdle(): void {
    if (!this.unused) return
    this.#connection?.close()
    this.#connection = undefined
  }

  #connect(): ListenerConnection | undefined {
    const path = this.#host.socketPath()
    if (path === undefined) return undefined
    this.#connection ??= this.#open(path)
    return this.#connection
  }

  #open(path: string): ListenerConnection {
    const connection = new ListenerConnection(
      {
        notified: (message, channel) => this.#notified(message, channel),
        // One that was given up is not this listener's any more.
        listenerGone: (loss) => {
          if (this.#connection === connection) this.#lost(loss)
        },
      },
      this.#host,
      this.database,
      path,
    )
    return connection
  }

  #count(channel: string, more: number): void {
    const count = (this.#asked.get(channel) ?? 0) + more
    if (count > 0) this.#asked.set(channel, count)
    else this.#asked.delete(channel)
  }

  #giveUp(channels: readonly string[]): void {
    const connection = this.#connection
    const unheard = channels.filter((name) => !this.table.heard(name) && !this.#asked.has(name))
    if (connection === undefined || unheard.length === 0) return
    if (this.table.sessions === 0 && this.#asked.size === 0) {
      connection.execute('UNLISTEN *')
    } else {
      connection.execute(unheard.map((name) => `UNLISTEN ${quotedChannel(name)}`).join(';'))
    }
  }
}
