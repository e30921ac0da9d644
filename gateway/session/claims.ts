// A stream for the batch that begins: where the route says, on the one that is open if it will do.

import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { mayRelisten, relistens } from '../listen/relisten.ts'
import type { PoolerLink } from '../poolers/pooler-link.ts'
import { ReadSplit } from '../replica/read-split.ts'
import { Mode, type SessionCore } from './core.ts'
import type { Failures } from './failures.ts'
import { missedNotifications } from './session-errors.ts'

export class Claims {
  readonly #core: SessionCore
  readonly #failures: Failures

  constructor(core: SessionCore, failures: Failures) {
    this.#core = core
    this.#failures = failures
  }

  /**
   * Sees to it that there is a stream for the batch up to `end`. False: the session waits, or has
   * to listen anew first.
   */
  claim(end: number): boolean {
    const core = this.#core
    if (core.reads || core.split !== undefined) this.#aim(end)
    const { up } = core
    const { pauses, route } = core.host
    if (up.held) {
      if (core.status !== TransactionStatus.Idle || route.keeps(up.link)) return true
      this.#failures.wait()
      return false
    }
    if (pauses.active && pauses.holds(core.request.database)) {
      this.#failures.wait(true)
      return false
    }
    const link = core.split === undefined ? route.pick(up.link) : core.split.target
    if (link === undefined) {
      this.#failures.wait()
      return false
    }
    if (up.link === link && up.opened) return true
    if (up.listens) return this.#endListener()
    core.mode = Mode.Waiting
    if (up.link !== link) this.#open(link)
    return false
  }

  #open(link: PoolerLink): void {
    const { up, split, owner, opening } = this.#core
    split?.side.opens()
    up.open(split?.side ?? owner, link, opening)
  }

  /** Which stream of a session that reads from followers the batch runs on. */
  #aim(end: number): void {
    const core = this.#core
    if (core.split === undefined) {
      if (core.up.held || core.up.listens) return
      core.up.close() // its two streams tell themselves apart
      core.extended?.released()
      core.split = new ReadSplit(core)
    }
    core.split.aim(end)
  }

  /** Elsewhere it would not hear what is notified until it listens there. */
  #endListener(): false {
    if (mayRelisten(this.#core)) {
      this.#core.up.close()
      relistens(this.#core)
      return false // the next step listens anew
    }
    this.#failures.terminate(missedNotifications('the session moves to another pooler'))
    return false
  }
}
