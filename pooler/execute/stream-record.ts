import { PgError } from '../../shared/errors/pg-error.ts'
import { Pin } from '../../shared/link/frame.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { Backend } from '../backend/backend.ts'
import type { ParameterVector } from '../backend/parameters.ts'
import type { Listening } from '../listen/listening.ts'
import { PoolWaiter } from '../pool/pool-waiter.ts'
import type { Pool } from '../pool/pool.ts'
import type { DatabaseWatch } from '../watch/database-watch.ts'
import type { Counters } from './counters.ts'
import type { Executor } from './executor.ts'
import { SessionState } from './session-state.ts'
import { StreamState, TOO_MANY_SETTINGS, type StreamHello } from './stream-state.ts'

/** What is known of a session on a link; stream.ts changes it. */
export abstract class StreamRecord extends PoolWaiter<Backend> {
  readonly id: number
  readonly pool: Pool<Backend>
  /** Who it is, for people: the client's address and the gateway's session number. */
  readonly client: string
  readonly session: number
  /** Its batches run while this node follows; all others while it serves under their rule. */
  readonly reads: boolean
  state: StreamState = StreamState.Opening
  backend: Backend | undefined
  readonly kept: SessionState
  /** What functions of its database may leave behind. */
  readonly watch: DatabaseWatch
  /** Of a session that has listened without a backend of its own. */
  listening: Listening | undefined
  /** What the gateway was last told that the backend reports. */
  told: ParameterVector | undefined
  /** The batch under way or, at rest, the last one. */
  batch = 0
  /** Since when the batch, or the rest, lasts. */
  sinceMs: number
  /** The gateway has sent the message that makes a ReadyForQuery. */
  finalSeen = false
  batches = 0
  /** Of them, those after which its backend was free for others. */
  released = 0
  /** Of them, those on a backend that another session had before. */
  handOvers = 0

  /** @throws PgError when there is no room for the settings that it brings. */
  constructor(executor: Executor, pool: Pool<Backend>, hello: StreamHello) {
    super()
    this.id = hello.id
    this.pool = pool
    this.client = hello.client
    this.session = hello.session
    this.reads = hello.reads
    this.watch = executor.watches.of(pool.key.database)
    this.kept = new SessionState(executor.settings, this.watch, hello.name)
    if (!this.kept.bring(hello.settings)) throw new PgError(...TOO_MANY_SETTINGS)
    this.wantedFlavor = this.kept.settings
    this.sinceMs = executor.nowMs
    pool.sessions++
  }

  /** Another session had the backend last, if any had. */
  protected takeOver(backend: Backend, counters: Counters): void {
    if (backend.lastSession !== 0) {
      this.handOvers++
      counters.handOvers++
    }
    backend.lastSession = this.session
  }

  /** Bytes that wait for the gateway's credit. */
  abstract get pendingBytes(): number

  /** Every reason that keeps a backend with this session now. */
  get pinReasons(): number {
    if (this.backend === undefined) return 0
    let reasons = this.kept.pins
    if (this.backend.status !== TransactionStatus.Idle) reasons |= Pin.Transaction
    if (this.state === StreamState.Running && !this.finalSeen) reasons |= Pin.Batch
    if (this.pendingBytes > 0) reasons |= Pin.SlowClient
    return reasons
  }

  /** It would lose something if it were cut now. */
  get busy(): boolean {
    return this.backend !== undefined || this.state === StreamState.Waiting
  }
}
