// Whether this orchestrator may act on a shard: not while an operator paused it, and not on a
// leader that one cause kills again and again. A trigger lets it act while it is paused.
import { wallTimeMs } from '../../shared/time/clock.ts'
import type { RecoveryRecord } from '../../shared/topology/records.ts'
import type { Action } from '../analyze/problem.ts'
import type { FlapGuard, FlapLimits, Stopped } from '../flap-guard.ts'

/** What it goes by. */
export type RecoveryGateOptions = {
  readonly record: () => RecoveryRecord | undefined
  readonly guard: FlapGuard
  readonly limits: () => FlapLimits
}

/** Why not. */
export type Refusal = { readonly kind: 'paused' | 'stopped'; readonly why: string }

/** One shard's. */
export class RecoveryGate {
  readonly guard: FlapGuard
  readonly #options: RecoveryGateOptions
  #triggers = 0

  constructor(options: RecoveryGateOptions) {
    this.guard = options.guard
    this.#options = options
  }

  /** Undefined unless an operator paused it. */
  get paused(): RecoveryRecord | undefined {
    const record = this.#options.record()
    return record?.paused === true ? record : undefined
  }

  /** Why no leader is appointed any more. */
  get stopped(): Stopped | undefined {
    this.guard.lift(this.#options.record()?.liftedAtMs ?? 0)
    return this.guard.stopped(this.#options.limits(), wallTimeMs())
  }

  /** Somebody waits for what is to be done now. */
  get triggered(): boolean {
    return this.#triggers > 0
  }

  /** Lets it act until disposed, whoever paused it. */
  trigger(): Disposable {
    this.#triggers += 1
    return { [Symbol.dispose]: () => void (this.#triggers -= 1) }
  }

  /** Undefined: go ahead. */
  refusal(action: Action): Refusal | undefined {
    const { paused, stopped } = this
    if (paused !== undefined && !this.triggered) {
      return { kind: 'paused', why: `recovery is paused by ${paused.by}${because(paused)}` }
    }
    if (stopped === undefined || action.kind !== 'appoint') return undefined
    return { kind: 'stopped', why: `no more failovers: ${stopped.cause}` }
  }
}

const because = ({ reason }: RecoveryRecord): string => (reason === '' ? '' : `: ${reason}`)
