// A simulated PostgreSQL, with what was measured of the real one and matters here: it follows
// timelines by number only; a standby reports what it replayed as flushed as soon as it connects;
// after a restart its receive position is the start of a segment; a list of synchronous standbys
// that was empty takes effect late, and each walsender has its own copy; a fast stop ends waiting
// commits, which are visible then, and writes one more record.
import { PgError } from '../../../shared/errors/pg-error.ts'
import { forkPointOf } from '../../../shared/replication/timeline-history.ts'
import type { Network } from '../world/network.ts'
import { type Machine, Process, type World } from '../world/world.ts'
import { nodeCalled, there } from '../world/here.ts'
import { Receiver, type Sender } from './streaming.ts'
import { countOf, type Disk, lsnOf, type Row, segmentStart, type WalRecord } from './wal.ts'

/** How the wait of a commit ended. */
export type Waited = 'acknowledged' | 'cancelled' | 'lost'

type Waiter = { readonly at: number; readonly done: (how: Waited) => void }

const CHECKPOINTER_LATE_MS = 500
const SENDER_LATE_MS = 30
const RETRY_MS = 100

/** One data directory with the server that runs in it, if one does. */
export class Postgres {
  readonly id: string
  readonly machine: Machine
  readonly world: World
  readonly network: Network
  readonly host: string
  disk: Disk | undefined
  process: Process | undefined
  state: 'down' | 'starting' | 'standby' | 'primary' = 'down'
  pid = 0
  starts = 0
  replayed = 0
  /** What pg_last_wal_receive_lsn says, in records; undefined before any receiver was asked for. */
  received: number | undefined
  receiver: Receiver | undefined
  readonly senders = new Set<Sender>()
  /** max_wal_senders, as far as our followers are concerned. */
  sendersMax = Infinity
  /** Of each waiting commit, in order of WAL. */
  waiters: Waiter[] = []
  /** Backends wait at all: as the checkpointer last saw the list. */
  waits = false
  /** After a cancelled wait nothing leaves before the quorum has flushed this much. */
  barrier = 0
  /** Others to connect to, by host. */
  peer: (host: string) => Postgres | undefined = () => undefined
  onChange: () => void = () => {}

  constructor(world: World, network: Network, machine: Machine) {
    this.id = machine.id
    this.host = machine.id
    this.machine = machine
    this.world = world
    this.network = network
  }

  get running(): boolean {
    return this.process?.alive === true
  }

  get accepting(): boolean {
    return this.running && (this.state === 'standby' || this.state === 'primary')
  }

  /** @throws PgError where there is no data. */
  get data(): Disk {
    if (this.disk === undefined) throw new PgError('undefined_file', `${this.id} has no data`)
    return this.disk
  }

  get end(): number {
    return this.disk?.wal.length ?? 0
  }

  /** The row of rules as a session sees it. */
  get row(): Row {
    const { wal } = this.data
    return wal[(this.state === 'primary' ? wal.length : this.replayed) - 1]!.row
  }

  get standbyNames(): string {
    return this.data.settings['synchronous_standby_names'] ?? ''
  }

  get conninfo(): string {
    return this.data.settings['primary_conninfo'] ?? ''
  }

  get primary(): Postgres | undefined {
    const host = /host='([^']*)'/.exec(this.conninfo)?.[1]
    return host === undefined ? undefined : this.peer(host)
  }

  /** Always as a standby. */
  start(settings: Readonly<Record<string, string>>): void {
    if (this.running) throw new PgError('object_not_in_prerequisite_state', `${this.id} runs`)
    const disk = this.data
    disk.settings = { ...disk.settings, ...settings }
    const process = new Process(`postgres ${this.id}`, this.machine)
    process.onDeath.add(() => this.#ended())
    this.process = process
    this.state = 'starting'
    this.starts += 1
    this.pid = 1000 + this.starts
    this.received = undefined
    this.replayed = 0
    // What it wrote before is either in the quorum by the time that it leads again, or gone.
    this.barrier = 0
    this.waits = this.standbyNames !== ''
    this.world.after(1 + 20 * this.world.random.next(), process, () => {
      this.state = 'standby'
      this.replayed = this.end
      this.world.note(`postgres ${this.id} is a standby at ${this.end} on ${disk.timeline}`)
      this.onChange()
      this.connect()
    })
  }

  /** The end of a fast stop; the caller starts it again, or does not. */
  async stop(): Promise<void> {
    const process = this.process
    if (process?.alive !== true) return
    if (this.state === 'primary') {
      this.#endWaits('cancelled')
      this.append('shutdown', this.row)
    }
    this.onChange()
    await this.world.step('postgres stops', () => {}, 20)
    this.world.kill(process)
  }

  #ended(): void {
    this.state = 'down'
    this.pid = 0
    this.#endWaits('lost')
    this.receiver?.close()
    this.receiver = undefined
    for (const sender of this.senders) sender.close()
    this.senders.clear()
    this.onChange()
  }

  #endWaits(how: Waited): void {
    const waiters = this.waiters
    this.waiters = []
    if (how === 'cancelled' && waiters.length > 0) this.barrier = this.end
    for (const waiter of waiters) waiter.done(how)
  }

  /** Others have taken all its connections for replication. */
  refuseStreams(): void {
    this.sendersMax = 0
    for (const sender of this.senders) sender.close()
    this.senders.clear()
  }

  /** pg_terminate_backend, or a cancel that reached a waiting commit. */
  cancelWaits(): void {
    this.#endWaits('cancelled')
  }

  /** Rewrites the settings and has the server read them, soon. */
  reload(settings: Readonly<Record<string, string>>): void {
    const disk = this.data
    const before = { names: this.standbyNames, conninfo: this.conninfo }
    disk.settings = { ...disk.settings, ...settings }
    if (!this.running) return
    const { random } = this.world
    if (this.standbyNames !== before.names) {
      const late = before.names === '' ? CHECKPOINTER_LATE_MS * random.next() : 0
      const names = this.standbyNames
      this.world.after(late, this.process, () => {
        this.waits = names !== ''
      })
      for (const sender of this.senders) {
        this.world.after(SENDER_LATE_MS * random.next(), this.process, () => {
          sender.names = names
        })
      }
    }
    if (this.conninfo === before.conninfo) return
    this.world.after(2 * random.next(), this.process, () => {
      this.receiver?.close()
      this.receiver = undefined
      this.connect()
    })
  }

  /** Ends recovery on that timeline. */
  promote(timeline: number): void {
    const disk = this.data
    if (this.state !== 'standby') throw new PgError('cannot_connect_now', 'no standby to promote')
    if (timeline <= disk.timeline) {
      throw new PgError('object_not_in_prerequisite_state', `timeline ${timeline} is not above`)
    }
    this.receiver?.close()
    this.receiver = undefined
    this.replayed = this.end
    disk.history = [
      ...disk.history,
      { timeline: disk.timeline, switchLsn: lsnOf(this.end), reason: '' },
    ]
    disk.timeline = timeline
    this.state = 'primary'
    this.append('end of recovery', disk.wal.at(-1)!.row)
    this.world.note(`postgres ${this.id} is a primary at ${this.end} on ${timeline}`)
    this.onChange()
  }

  /** Writes one record, on its own disk. */
  append(kind: WalRecord['kind'], row: Row, value = 0): WalRecord {
    const { wal, timeline } = this.data
    const record = { at: wal.length, kind, value, row, timeline }
    wal.push(record)
    for (const sender of this.senders) sender.pump()
    return record
  }

  /** A client's transaction. `done` when its COMMIT would return. */
  commit(value: number, done: (how: Waited, record: WalRecord) => void): void {
    const record = this.append('data', this.row, value)
    if (!this.waits) {
      this.world.after(0.1, this.process, () => {
        there().witness.released(record, nodeCalled(this.id))
        done('acknowledged', record)
      })
      return
    }
    this.waiters.push({ at: record.at, done: (how) => done(how, record) })
  }

  /** What a snapshot of this moment sees: a prefix, without what still waits. */
  snapshot() {
    const wal = this.data.wal.slice(0, this.state === 'primary' ? this.end : this.replayed)
    const waiting = new Set(this.waiters.map(({ at }) => at))
    const sees = (record: WalRecord): boolean => {
      return wal[record.at] === record && !waiting.has(record.at)
    }
    const newest = wal.findLast((record) => record.kind === 'data' && sees(record))
    return { sees, newest }
  }

  /** A standby told how far it is: releases what has its quorum by this walsender's list. */
  acknowledged(by: Sender): void {
    const list = parseNames(by.names)
    if (list === undefined || !list.ids.has(by.id)) return
    const quorum = this.quorumFlush(list)
    while (this.waiters[0] !== undefined && this.waiters[0].at < quorum) {
      const waiter = this.waiters.shift()!
      there().witness.released(this.data.wal[waiter.at]!, nodeCalled(this.id))
      waiter.done('acknowledged')
    }
  }

  /** How much the quorum of the list says it has flushed. */
  quorumFlush(list = parseNames(this.standbyNames)): number {
    if (list === undefined) return this.end
    const flushed = [...this.senders].filter(({ id }) => list.ids.has(id)).map((each) => each.flush)
    return flushed.toSorted((left, right) => right - left)[list.count - 1] ?? 0
  }

  /** Has a receiver begin, and again until one stands. */
  connect(): void {
    if (this.state !== 'standby' || this.conninfo === '' || this.receiver !== undefined) return
    const source = this.primary
    this.received = Math.max(this.received ?? 0, segmentStart(this.end))
    if (source !== undefined && source.process !== undefined) {
      this.receiver = new Receiver(this, source)
      this.receiver.connect()
    }
  }

  /** The receiver ended; another one comes. */
  retry(): void {
    this.receiver = undefined
    this.world.after(RETRY_MS * (0.5 + this.world.random.next()), this.process, () => {
      this.connect()
    })
  }

  /**
   * START_REPLICATION: up to where it streams (undefined: as far as there is), or why not.
   */
  streamable(timeline: number, from: number): { readonly upTo: number | undefined } | string {
    const { history, timeline: own } = this.data
    if (timeline === own) {
      if (from > this.end) return 'requested starting point is ahead'
      return { upTo: undefined }
    }
    const fork = forkPointOf(history, timeline)
    if (fork === undefined || from > countOf(fork)) return "not in this server's history"
    return { upTo: countOf(fork) }
  }

  /** The server dies at once; what was not flushed stays only in a machine that lives. */
  crash(how: 'process' | 'power'): void {
    const { receiver, disk, process } = this
    if (process === undefined) return
    if (how === 'process' && receiver !== undefined && disk !== undefined) receiver.flush()
    this.world.kill(process)
  }
}

const NAMES = /^ANY (\d+) \((.*)\)$/
type NameList = { readonly count: number; readonly ids: ReadonlySet<string> }
const parsed = new Map<string, NameList | undefined>()

/** Undefined for the empty list. */
export function parseNames(text: string): NameList | undefined {
  if (!parsed.has(text)) {
    const match = NAMES.exec(text)
    const ids = new Set([...(match?.[2] ?? '').matchAll(/"([^"]*)"/g)].map(([, id = '']) => id))
    parsed.set(text, match === null ? undefined : { count: Number(match[1]), ids })
  }
  return parsed.get(text)
}
