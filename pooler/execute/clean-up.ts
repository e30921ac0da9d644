// What happens to a backend whose session ended.
import { Flag, Pin } from '../../shared/link/frame.ts'
import { query } from '../../shared/pgwire/frontend.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { timer } from '../../shared/time/clock.ts'
import type { Backend } from '../backend/backend.ts'
import type { BackendOwner } from '../backend/backend-parties.ts'

/**
 * DISCARD ALL leaves these behind: random() would be predictable, names and libraries stay, and so
 * does an empty temporary schema, without which a transaction could not be prepared.
 */
const BEYOND_CLEANING = Pin.Setseed | Pin.NotCleanable | Pin.Replication | Pin.TempObjects

/** Who was left in the middle of a batch is cancelled again, while it runs on. */
const AGAIN_MS = 200
const TRIES_MAX = 10

const ROLLBACK = query('ROLLBACK')
const DISCARD_ALL = query('DISCARD ALL')

/** The statements that make `backend` like new after a session with `pins`; undefined: close it. */
export function cleaningOf(backend: Backend, pins: number): readonly Buffer[] | undefined {
  if ((pins & BEYOND_CLEANING) !== 0) return undefined
  if (pins !== 0 && backend.settings.customs.size > 0) return undefined // names stay too
  const statements: Buffer[] = []
  if (backend.status !== TransactionStatus.Idle) statements.push(ROLLBACK)
  if (pins !== 0) statements.push(DISCARD_ALL)
  return statements
}

/** Cleans a backend, one statement at a time; `done` says whether it is like new. */
export class CleanUp implements BackendOwner {
  readonly #backend: Backend
  readonly #statements: readonly Buffer[]
  readonly #done: (clean: boolean) => void
  #next = 0
  #failed = false

  constructor(backend: Backend, statements: readonly Buffer[], done: (clean: boolean) => void) {
    this.#backend = backend
    this.#statements = statements
    this.#done = done
    if (backend.cancels === 0) this.#step()
    else backend.owner = this
  }

  backendData(_bytes: Buffer, _start: number, _end: number, flags: number): void {
    if ((flags & Flag.Error) !== 0) this.#failed = true
  }

  backendReady(status: number): void {
    if (this.#failed) return this.#finish(false)
    if (this.#next < this.#statements.length) return this.#step()
    if (this.#statements.includes(DISCARD_ALL)) this.#backend.prepared.gone() // else all stay
    this.#finish(status === TransactionStatus.Idle)
  }

  backendKeeps(): boolean {
    return false
  }

  backendDrained(): void {}

  backendCancelDone(): void {
    this.#step()
  }

  backendLost(): void {}

  #step(): void {
    const statement = this.#statements[this.#next++] as Buffer
    this.#backend.beginBatch(this)
    this.#backend.write(statement, 0, statement.length)
  }

  #finish(clean: boolean): void {
    this.#backend.owner = undefined
    this.#done(clean)
  }
}

/** Takes what a backend says whose session left in the middle of a batch; it is closed soon. */
export class Abandoned implements BackendOwner {
  readonly #backend: Backend
  readonly #cancel: () => Promise<boolean>
  #tries = 0

  /** `cancel` sends one, unless nobody knows whether it would do harm; false: it would. */
  constructor(backend: Backend, cancel: () => Promise<boolean>) {
    this.#backend = backend
    this.#cancel = cancel
    backend.owner = this
    this.#try()
  }

  /** One that comes before Postgres has begun with the batch is lost: it would run to its end. */
  #try(): void {
    const backend = this.#backend
    if (backend.owner !== this || !backend.open) return
    this.#tries++
    void this.#cancel().then((harmless) => {
      if (!harmless) backend.kill()
      else if (backend.cancels === 0) this.#again()
    })
  }

  #again(): void {
    if (this.#backend.running && this.#tries < TRIES_MAX) timer(AGAIN_MS, () => this.#try())
    else this.#backend.kill()
  }

  backendData(): void {}

  backendReady(): void {
    if (this.#backend.cancels === 0) this.#backend.kill()
  }

  backendKeeps(): boolean {
    return false
  }

  backendDrained(): void {}

  backendCancelDone(): void {
    this.#again()
  }

  backendLost(): void {}
}
