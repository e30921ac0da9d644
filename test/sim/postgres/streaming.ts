// The two ends of a replication connection.
import type { TimelineHistoryEntry } from '../../../shared/replication/timeline-history.ts'
import { there } from '../world/here.ts'
import type { Process } from '../world/world.ts'
import { Channel } from './channel.ts'
import type { Postgres } from './server.ts'
import { segmentStart, type WalRecord } from './wal.ts'

const CONNECT_TIMEOUT_MS = 2000
const RECEIVER_TIMEOUT_MS = 5000
const FLUSH_MS = 2
const REPLAY_MS = 4

/** A walsender: what a leader knows of one standby. */
export class Sender {
  readonly id: string
  readonly receiver: Receiver
  names: string
  sent: number
  flush = 0
  streaming = false
  readonly #server: Postgres
  readonly #upTo: number | undefined
  readonly #down: Channel
  #switched = false

  constructor(
    server: Postgres,
    at: { receiver: Receiver; from: number; upTo: number | undefined; down: Channel },
  ) {
    this.#server = server
    this.id = at.receiver.standby.id
    this.receiver = at.receiver
    this.names = server.standbyNames
    this.sent = at.from
    this.#upTo = at.upTo
    this.#down = at.down
  }

  /** Sends what there is. */
  pump(): void {
    const { wal, timeline, history } = this.#server.data
    const limit = this.#upTo ?? this.#server.end
    if (this.sent < limit) {
      const from = this.sent
      const records = wal.slice(from, limit)
      this.sent = limit
      this.#down.send(() => this.receiver.receive(records))
    }
    this.streaming = true
    if (this.#upTo === undefined || this.#switched) return
    this.#switched = true
    const left = this.#upTo
    this.#down.send(() => this.receiver.switchTo({ left, timeline, history }))
  }

  replied(flush: number): void {
    this.flush = flush
    this.#server.acknowledged(this)
  }

  close(): void {
    this.#down.closed = true
    const { receiver } = this
    this.#server.network.sendTo(this.#server.machine, receiver.process, () => receiver.lost())
  }
}

/** A walreceiver: one connection of a standby to whom it follows. */
export class Receiver {
  readonly standby: Postgres
  readonly source: Postgres
  readonly process: Process
  timeline: number
  streaming = false
  closed = false
  #pending: WalRecord[] = []
  #sender: Sender | undefined
  #up: Channel | undefined
  #heardAt: number

  constructor(standby: Postgres, source: Postgres) {
    this.standby = standby
    this.source = source
    this.process = standby.process!
    this.timeline = standby.data.timeline
    this.#heardAt = standby.world.time
  }

  connect(): void {
    const { standby, source, timeline } = this
    const { world, network } = standby
    const from = segmentStart(standby.end)
    network.send(standby.machine, source.machine, () => {
      const { process } = source
      if (process?.alive !== true || !source.accepting) return this.#refused()
      world.after(0, process, () => this.#accept(process, timeline, from))
    })
    world.after(CONNECT_TIMEOUT_MS, this.process, () => {
      if (!this.streaming) this.lost()
    })
    this.#watch()
  }

  #refused(): void {
    const { source, standby } = this
    standby.network.sendTo(source.machine, this.process, () => this.lost())
  }

  /** At the source. */
  #accept(process: Process, timeline: number, from: number): void {
    const { source, standby } = this
    const { world, network } = source
    const full = source.senders.size >= source.sendersMax
    const answer = this.closed || full ? 'gone' : source.streamable(timeline, from)
    if (typeof answer === 'string') return this.#refused()
    const down = new Channel(world, network, process, this.process)
    const sender = new Sender(source, { receiver: this, from, upTo: answer.upTo, down })
    for (const old of source.senders) {
      if (old.id !== sender.id) continue
      source.senders.delete(old)
    }
    source.senders.add(sender)
    this.#sender = sender
    this.#up = new Channel(world, network, this.process, process)
    down.send(() => {
      this.streaming = true
      this.#heardAt = world.time
      // Before anything was received: what it has replayed counts as flushed.
      this.#reply(standby.replayed)
      standby.onChange()
    })
    sender.pump()
  }

  #reply(flush: number): void {
    const sender = this.#sender
    if (sender !== undefined) this.#up?.send(() => sender.replied(flush))
  }

  /** Records that it has already are skipped, whether or not they are the same. */
  receive(records: readonly WalRecord[]): void {
    if (this.closed) return
    const { standby } = this
    this.#heardAt = standby.world.time
    for (const record of records) {
      const at = standby.end + this.#pending.length
      if (record.at === at) this.#pending.push(record)
    }
    standby.world.after(FLUSH_MS * standby.world.random.next(), this.process, () => {
      if (this.closed) return
      this.flush()
      this.#reply(standby.end)
      this.#replay()
    })
  }

  /** To the disk. */
  flush(): void {
    const { standby } = this
    const records = this.#pending
    this.#pending = []
    // What it has already is received again, from the start of the segment on.
    standby.received = Math.max(standby.received ?? 0, standby.end)
    if (records[0]?.at !== standby.end) return
    const before = standby.end - 1
    const { wal } = standby.data
    there().witness.appended(standby, wal[before], this.source.disk?.wal[before])
    wal.push(...records)
    standby.received = standby.end
    for (const sender of standby.senders) sender.pump()
  }

  #replay(): void {
    const { standby } = this
    const end = standby.end
    standby.world.after(REPLAY_MS * standby.world.random.next(), this.process, () => {
      if (standby.state === 'standby') standby.replayed = Math.max(standby.replayed, end)
    })
  }

  /** The source left our timeline at `left`. */
  switchTo(next: {
    left: number
    timeline: number
    history: readonly TimelineHistoryEntry[]
  }): void {
    if (this.closed) return
    const { standby } = this
    this.flush()
    this.#replay()
    // "new timeline forked off before current recovery point", again and again.
    if (standby.end > next.left) return this.lost()
    if (standby.end < next.left) return this.lost()
    const { history } = next
    const own = standby.data
    own.timeline = next.timeline
    own.history = [...history]
    this.lost(0)
  }

  /** The connection broke. */
  lost(retryMs?: number): void {
    if (this.closed) return
    this.close()
    const { standby } = this
    if (standby.receiver !== this) return
    standby.onChange()
    if (retryMs === undefined) return standby.retry()
    standby.receiver = undefined
    standby.connect()
  }

  /** Ended by the standby: its process, or another conninfo. */
  close(): void {
    this.closed = true
    this.streaming = false
    // What was said before the end is heard before the end.
    const sender = this.#sender
    if (sender !== undefined) this.#up?.send(() => void this.source.senders.delete(sender))
  }

  #watch(): void {
    const { world } = this.standby
    world.after(RECEIVER_TIMEOUT_MS, this.process, () => {
      if (this.closed) return
      const silent = world.time - this.#heardAt > RECEIVER_TIMEOUT_MS
      const { source, standby } = this
      const reachable = standby.network.passes(source.machine, standby.machine)
      // The word that the sender is gone may have been lost on a way that was cut.
      const served = this.#sender !== undefined && source.senders.has(this.#sender)
      if (silent && (!reachable || !source.running || !served)) this.lost()
      else this.#watch()
    })
  }
}
