// What must run on a session's backend before a batch of the client's, each as a batch of our own.

import { Look, Op, Pin } from '../../shared/link/frame.ts'
import { sync } from '../../shared/pgwire/frontend.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { maskOf } from './ask-batch.ts'
import { LostTransaction, Mode, type SessionCore } from './core.ts'
import { Trait } from './traits.ts'
import {
  Before,
  FAIL_TRANSACTION,
  hasLiterals,
  parseLiterals,
  prepareOwnNames,
  type Unit,
} from './units.ts'
import { FINAL } from './upstream.ts'

const HEADER_BYTES = 5
const SYNC = sync()

export class Preparations {
  readonly #core: SessionCore

  constructor(core: SessionCore) {
    this.#core = core
  }

  /**
   * Starts what must run before a batch with these traits. True: not yet the batch; what was done
   * for it so far is taken back.
   */
  runBefore(traits: number): boolean {
    const core = this.#core
    if (core.lostTransaction === LostTransaction.Told) {
      return this.#runUnit(Before.FailedTransaction, () => FAIL_TRANSACTION)
    }
    if (this.namesOwn(traits)) {
      const extended = core.needExtended()
      const { statements } = extended
      if (this.#runUnit(Before.OwnNames, () => prepareOwnNames(statements, traits))) return true
      if (extended.ownNames) return true // there was nothing to prepare: the batch is made anew
    }
    return this.#changesLiterals(traits) && this.#parseLiterals(traits)
  }

  /** SQL names statements, and the backend does not know them by the client's names yet. */
  namesOwn(traits: number): boolean {
    const { status, extended } = this.#core
    if ((traits & Trait.UsesNames) === 0) return false
    return status !== TransactionStatus.Failed && extended?.ownNames !== true
  }

  /**
   * A held Query names statements that were prepared right before it, without a Sync. As nothing
   * was executed, ours changes nothing: the Query is then a batch of its own, and can have what it
   * needs.
   */
  syncFirst(): boolean {
    const core = this.#core
    core.queryNow = false
    core.unit = Before.Sync
    core.mode = Mode.Unit
    core.up.sendRaw(SYNC, 0, SYNC.length, FINAL)
    return true
  }

  /**
   * Settings change: a prepared statement keeps what its literals meant when it was prepared, so it
   * may not be parsed for the first time on this backend afterwards.
   */
  #changesLiterals(traits: number): boolean {
    const { extended, localSettings, status, up } = this.#core
    if ((traits & Trait.LocalSettings) === 0 || extended === undefined) return false
    if (localSettings || extended.ownNames || status === TransactionStatus.Failed) return false
    return up.held || maskOf(this.#core, traits) !== 0 // else it changes nothing that lasts
  }

  /** A session with such statements stays where they were parsed, once its settings are others. */
  #parseLiterals(traits: number): boolean {
    const core = this.#core
    const { statements } = core.needExtended()
    if (!hasLiterals(statements)) return false
    const mask = maskOf(core, traits)
    const lasts = (mask & (Look.Settings | Look.AllSettings | Pin.Unknown)) !== 0
    const pins = lasts ? Pin.Settings : 0
    return this.#runUnit(Before.Literals, () => parseLiterals(statements, pins))
  }

  /** `make` is called when nothing of the client's batch is prepared any more. */
  #runUnit(which: number, make: () => Unit): boolean {
    const core = this.#core
    if ((core.before & which) !== 0) return false
    core.before |= which
    core.extended?.takeBack()
    const unit = make()
    if (which === Before.OwnNames && unit.pins === 0) {
      core.needExtended().ownNames = true
      return false
    }
    core.unit = which
    core.mode = Mode.Unit
    core.up.begin()
    const { builder } = core.host
    builder.begin(unit.bytes, 0)
    if (unit.forget) builder.op(Op.Forget, 0, 0)
    for (const [at, statements] of unit.needs.entries()) {
      for (const statement of statements) {
        core.up.link?.define(statement)
        builder.op(Op.Need, statement.id, at * HEADER_BYTES)
      }
    }
    builder.finish(unit.bytes.length)
    core.up.sendBuilt(builder, true, unit.pins, FINAL)
    return true
  }
}
