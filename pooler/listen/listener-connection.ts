// The one connection of a database that listens for all sessions there which share it.
//
// Invariants:
// - It is in no transaction between its batches, so Postgres tells it of every commit at once.
// - Batches run one after another, in the order in which they were asked for.
// - Postgres signals listeners before a committing batch gets its ReadyForQuery, and tells what is
//   signalled before it answers the next batch. So whatever was committed by a batch that had ended
//   when a barrier was asked for has been told when the barrier is done.
import { PgError } from '../../shared/errors/pg-error.ts'
import { Flag } from '../../shared/link/frame.ts'
import { fromPgError } from '../../shared/pgwire/error-fields.ts'
import { query, sync } from '../../shared/pgwire/frontend.ts'
import { HEADER_BYTES, MessageReader } from '../../shared/pgwire/message-reader.ts'
import { Backend as Message } from '../../shared/pgwire/message-types.ts'
import { Backend } from '../backend/backend.ts'
import type { BackendHost, BackendOwner } from '../backend/backend-parties.ts'
import type { ForwardContext } from '../backend/forwarder.ts'
import { lossOf, type Loss } from '../backend/loss.ts'
import { Pool } from '../pool/pool.ts'

/** Who it listens for. */
export interface ListenerOwner {
  /** A whole NotificationResponse, its own copy; `channel` are its bytes, one character each. */
  notified(message: Buffer, channel: string): void
  /** Nothing follows. `refused`: it never was connected. */
  listenerGone(loss: Loss, refused: boolean): void
}

/** One batch of messages of a client, whole. */
export type ListenBatch = {
  readonly context: ForwardContext
  readonly flags: number
  readonly bytes: Buffer
  /** All that it was answered, less ReadyForQuery; called as ReadyForQuery is read. */
  readonly done: (answer: Buffer, failed: boolean) => void
}

type Job = { readonly batch: ListenBatch | undefined; readonly done: (() => void)[]; sql: string }

const SYNC = sync()
const CANNOT_CONNECT: Loss = { sqlstate: '08006', message: 'cannot connect to PostgreSQL' }
/** Postgres's own limit of a payload is near 8000 bytes; errors and notices are short. */
const MESSAGE_BYTES_MAX = 1024 * 1024
/** Batches that may wait at once; there is at most one of each session, and barriers are shared. */
export const LISTEN_JOBS_MAX = 100_000
/** Role and settings of the connection: nothing ends it that ends a client's. */
const USER = 'multigres'
const OPTIONS = [
  ['application_name', 'multigres_listener'],
  ['client_encoding', 'UTF8'],
  ['idle_session_timeout', '0'],
  ['lock_timeout', '0'],
  ['statement_timeout', '0'],
] as const

/** What a listener shares with the pooler's other backends. */
export type ListenerShare = Pick<
  BackendHost,
  'vectors' | 'settings' | 'limits' | 'mayDeliver' | 'barrier'
> & {
  readonly nowMs: number
}

/** One listening connection, from its start to its end. */
export class ListenerConnection implements BackendOwner {
  readonly #owner: ListenerOwner
  readonly #share: ListenerShare
  readonly #backend: Backend
  readonly #reader = new MessageReader({ messageBytesMax: MESSAGE_BYTES_MAX })
  readonly #jobs: Job[] = []
  /** From its first byte until all that came with its ReadyForQuery is read. */
  #running: Job | undefined
  #answered = false
  #answer: Buffer[] = []
  #failed = false
  #opened = false
  #gone = false
  #sinceMs: number

  constructor(owner: ListenerOwner, share: ListenerShare, database: string, socketPath: string) {
    this.#owner = owner
    this.#share = share
    this.#sinceMs = share.nowMs
    const key = { database, user: USER, options: OPTIONS }
    const pool = new Pool<Backend>('listener', key, share.nowMs)
    this.#backend = new Backend(pool, this.#host(), socketPath)
  }

  get pid(): number {
    return this.#backend.pid
  }

  /** No batch runs or waits. */
  get idle(): boolean {
    return this.#opened && this.#running === undefined && this.#jobs.length === 0
  }

  /** Runs a client's LISTEN. False when too many wait. */
  run(batch: ListenBatch): boolean {
    if (this.#gone || this.#jobs.length >= LISTEN_JOBS_MAX) return false
    this.#add({ batch, done: [], sql: '' })
    return true
  }

  /** Runs a statement of our own. */
  execute(sql: string): void {
    this.#add({ batch: undefined, done: [], sql })
  }

  /** Calls back when all that is committed now has been told; never when the connection is lost. */
  barrier(done: () => void): void {
    const last = this.#jobs.at(-1)
    if (last !== undefined && last.batch === undefined && last.sql === '') last.done.push(done)
    else this.#add({ batch: undefined, done: [done], sql: '' })
  }

  /** Ends it if what it does now has taken `limitMs`. */
  check(nowMs: number, limitMs: number): void {
    const waits = !this.#opened || this.#running !== undefined
    if (waits && nowMs - this.#sinceMs >= limitMs) this.close()
  }

  close(): void {
    this.#backend.kill()
  }

  backendData(bytes: Buffer, start: number, end: number, flags: number): void {
    if ((flags & Flag.Error) !== 0) this.#failed = true
    const reader = this.#reader
    reader.feed(Buffer.from(bytes.subarray(start, end)))
    for (let type = reader.next(); type !== undefined; type = reader.next()) {
      if (type === Message.NotificationResponse) {
        reader.int32()
        const channel = reader.cstringView().toString('latin1')
        this.#owner.notified(reader.message(), channel)
      } else if (type === Message.ReadyForQuery) {
        this.#end()
      } else if (this.#running?.batch !== undefined && !this.#answered) {
        this.#answer.push(reader.message())
      }
    }
  }

  backendReady(): void {
    this.#running = undefined
    this.#next()
  }

  backendKeeps(): boolean {
    return false
  }

  backendDrained(): void {}

  backendCancelDone(): void {}

  backendLost(loss: Loss): void {
    this.#lost(loss, false)
  }

  #add(job: Job): void {
    if (this.#gone) return
    this.#jobs.push(job)
    this.#next()
  }

  #next(): void {
    if (!this.#opened || this.#running !== undefined) return
    const job = this.#jobs.shift()
    if (job === undefined) return
    this.#running = job
    this.#sinceMs = this.#share.nowMs
    this.#answer = []
    this.#answered = this.#failed = false
    const backend = this.#backend
    backend.beginBatch(this)
    if (job.batch !== undefined) {
      this.#forward(job.batch)
    } else {
      const bytes = job.sql === '' ? SYNC : query(job.sql)
      backend.write(bytes, 0, bytes.length)
    }
  }

  /** A client's messages; a gateway that breaks the protocol hears so in their place. */
  #forward({ context, flags, bytes }: ListenBatch): void {
    try {
      this.#backend.forwarder.forward(context, flags, bytes, 0, bytes.length)
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      this.#failed = true
      this.#answer.push(fromPgError(error))
      this.#backend.write(SYNC, 0, SYNC.length)
    }
  }

  /** ReadyForQuery was read: what follows it in this chunk came behind the batch. */
  #end(): void {
    const job = this.#running
    if (job === undefined || this.#answered) return
    this.#answered = true
    for (const done of job.done) done()
    job.batch?.done(Buffer.concat(this.#answer), this.#failed)
  }

  #lost(loss: Loss, refused: boolean): void {
    if (this.#gone) return
    this.#gone = true
    this.#jobs.length = 0
    this.#running = undefined
    this.#owner.listenerGone(loss, refused)
  }

  #host(): BackendHost {
    const share = this.#share
    return {
      vectors: share.vectors,
      settings: share.settings,
      limits: share.limits,
      get nowMs() {
        return share.nowMs
      },
      backendOpened: (backend) => {
        backend.owner = this
        this.#opened = true
        this.#next()
      },
      backendRefused: (_backend, refusal) => {
        const why =
          refusal === undefined ? CANNOT_CONNECT : lossOf(refusal, HEADER_BYTES, refusal.length)
        this.#lost(why, true)
      },
      backendGone: () => undefined,
      cancelDone: () => undefined,
      mayDeliver: () => share.mayDeliver(),
      barrier: share.barrier,
      sessionOf: (pid) => pid,
    }
  }
}
