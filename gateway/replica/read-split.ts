// A session whose surely reading batches go to followers, and all others to the leader, as it has
// asked for by SET multigres.reads.
//
// It has two streams, of which one is its present one (`core.up`). Invariants:
// - It turns from one to the other between two batches only, when neither has anything to keep.
// - Nothing runs on a stream whose pooler does not hold the session's settings as they are now.
// - A follower is read from only when it has replayed what the session itself did on the leader.
// - What a follower refuses, fails at, or is lost with before the client got any of it, runs on the
//   leader: it was a read, and nothing came of it.

import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { now } from '../../shared/time/clock.ts'
import type { PoolerLink } from '../poolers/pooler-link.ts'
import { LostTransaction, type SessionCore } from '../session/core.ts'
import { surelyReadsBatch } from './batch-reads.ts'
import type { Mark } from './leader-looks.ts'
import { StreamSide } from './stream-side.ts'

/** For so long a session stays with the leader after a follower did not do. */
const SHUN_MS = 1000

export class ReadSplit {
  readonly #core: SessionCore
  readonly #leader: StreamSide
  readonly #follower: StreamSide
  /** Where the batch that begins shall run; undefined while nobody serves. */
  target: PoolerLink | undefined
  #shunnedUntilMs = 0
  #mark: Mark | undefined
  /** The client has cancelled the batch under way. */
  canceled = false
  /** The batch under way may go to a follower. */
  #reads = false

  constructor(core: SessionCore) {
    this.#core = core
    this.#leader = new StreamSide(core, this, false)
    this.#follower = new StreamSide(core, this, true)
    core.up = this.#leader.up
  }

  /** Whose frames the present stream's are. */
  get side(): StreamSide {
    return this.#core.up === this.#follower.up ? this.#follower : this.#leader
  }

  /** Chooses the stream of the batch at the start of the window; `end` is where it ends. */
  aim(end: number): void {
    const core = this.#core
    if (core.up.running || core.before !== 0) return // the same batch, behind one of our own
    this.#reads = this.canceled = false
    this.target = core.up.link
    if (core.up.held) return
    const link = this.#mayRead() ? this.#followerFor(end) : undefined
    this.#turn(link === undefined ? this.#leader : this.#follower)
    this.target = link ?? core.host.route.pick(core.up.link)
  }

  /** A follower did not do: the leader does, for a while. */
  shun(): void {
    this.#shunnedUntilMs = now() + SHUN_MS
  }

  /** A batch on the leader is over: what it did is not to be missed. */
  ran(): void {
    const { link } = this.#leader.up
    if (this.#reads || link === undefined) return
    this.#mark = { link, frames: link.frames }
  }

  close(): void {
    this.#leader.up.close()
    this.#follower.up.close()
  }

  #mayRead(): boolean {
    const core = this.#core
    const { listens, held } = this.#leader.up
    if (!core.reads || core.explicit || listens || held) return false
    if (core.status !== TransactionStatus.Idle) return false
    if (core.lostTransaction !== LostTransaction.None || core.settings.pairs === undefined) {
      return false
    }
    return true
  }

  /** Undefined when the batch is for the leader. */
  #followerFor(end: number): PoolerLink | undefined {
    const core = this.#core
    const { followers } = core.host
    const link = followers?.pick(this.#follower.up.link)
    if (link === undefined || followers === undefined) return undefined
    const { list } = link.watches.of(core.request.database)
    this.#reads = surelyReadsBatch(core, end, list)
    if (!this.#reads || now() < this.#shunnedUntilMs) return undefined
    return this.#mark === undefined || followers.covers(link, this.#mark) ? link : undefined
  }

  #turn(side: StreamSide): void {
    const core = this.#core
    if (core.up !== side.up) {
      core.up = side.up
      core.owner.turned()
    }
    if (side.settings !== core.settings) side.up.close()
  }
}
