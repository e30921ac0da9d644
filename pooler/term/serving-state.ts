// What this pooler may do for clients right now. The manager (term) writes it, the data server
// reads it for every batch. Invariant: `serving` is true only while this node is the leader of a
// decided rule; a change to false is seen by every reader before anything slow (a stop, a demotion)
// begins.
import { assert } from '../../shared/errors/assert.ts'

/** What consensus says about this node. `unknown` until its rule row was read once. */
export type Role = 'leader' | 'follower' | 'observer' | 'unknown'

/** One consistent view of the node's standing, replaced as a whole, never edited in place. */
export type ServingState = {
  readonly role: Role
  /** Coordinator term of the decided rule that this node sees; 0n before there is one. */
  readonly term: bigint
  /** Leader subterm of the decided rule. */
  readonly subterm: bigint
  /**
   * Clients may run writes here: leader, promoted, the rule decided, nothing promised against it.
   */
  readonly serving: boolean
  /** One clear sentence on why it does not serve; empty while it does. */
  readonly reason: string
  /** Why clients may not read here as from a follower; empty while they may. */
  readonly notReadable: string
  /** Bytes of received WAL that are not replayed yet; 0 on a primary. */
  readonly lagBytes: number
}

/** How clients are brought to rest. */
export interface Drainer {
  /**
   * Transactions that are open get `drainMs`, everybody being served meanwhile; then nothing new
   * begins, and what runs gets `settleMs`. `paused` is called in between.
   */
  drain(limits: { drainMs: number; settleMs: number; paused: () => void }): Promise<number>
  /** Statements may begin again, here or wherever somebody serves. */
  end(): void
}

/** The state of a pooler that has not learned anything yet. */
export const UNKNOWN_STATE: ServingState = {
  role: 'unknown',
  term: 0n,
  subterm: 0n,
  serving: false,
  reason: 'the state of this node is not known yet',
  notReadable: 'the state of this node is not known yet',
  lagBytes: 0,
}

/** True when clients could not tell the two apart: everything but the lag is equal. */
export function sameStanding(left: ServingState, right: ServingState): boolean {
  return (
    left.role === right.role &&
    left.term === right.term &&
    left.subterm === right.subterm &&
    left.serving === right.serving &&
    left.reason === right.reason &&
    left.notReadable === right.notReadable
  )
}

/**
 * Holds the current ServingState. Listeners run synchronously inside `set`, in order of joining.
 */
export class ServingStateCell {
  /**
   * Whether clients may begin anything with a leader at this very moment: its lease holds. To be
   * asked for each frame that comes, because no event tells a process that was stopped that time
   * has passed.
   */
  answers: () => boolean = () => true
  /** Whether they may still be answered; a cheaper look, for each piece that leaves. */
  delivers: () => boolean = () => true
  /** One of the two has said no: the state is made anew before this returns. */
  lapsed: () => void = () => {}
  /**
   * Resolves once what is committed here by now is where the policy wants it, or nobody is served
   * here any more; never rejects.
   */
  confirmed: () => Promise<void> = () => Promise.resolve()
  /** Brings clients to rest before leadership is handed over; set by the data part. */
  drainer: Drainer | undefined
  #current: ServingState = UNKNOWN_STATE
  readonly #listeners = new Set<(state: ServingState) => void>()

  get current(): ServingState {
    return this.#current
  }

  /** Replaces the state. Tells listeners only when more than the lag changed. */
  set(next: ServingState): void {
    assert(!next.serving || next.role === 'leader', 'only a leader serves')
    const previous = this.#current
    this.#current = next
    if (sameStanding(previous, next)) return
    for (const listener of this.#listeners) listener(next)
  }

  /** Calls back on every change of standing until disposed; not for the present state. */
  onChange(callback: (state: ServingState) => void): Disposable {
    // A wrapper of its own, so that one function may join twice and each leaves alone.
    const listener = (state: ServingState): void => callback(state)
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }
}
