import type { Pool } from './pool.ts'

/** Where a member stands as its pool sees it. */
export const MemberState = { Opening: 0, Idle: 1, Busy: 2, Closing: 3, Gone: 4 } as const
export type MemberState = (typeof MemberState)[keyof typeof MemberState]

/** Why a pool lets go of a backend, for logs and counters. */
export type CloseReason =
  | 'lifetime'
  | 'idle'
  | 'evicted' // its place in the budget was needed by another pool
  | 'unsuitable' // its place in the pool was needed: who waits cannot take it
  | 'surplus' // the pool is over its size: it was made smaller, or a pin ended
  | 'retired' // the owner asked for it
  | 'shutdown'

/** What a pool keeps about one backend. The fields are PoolSet's own; the backend extends this. */
export abstract class PoolMember<M extends PoolMember<M>> {
  readonly pool: Pool<M>
  memberState: MemberState = MemberState.Opening
  pinned = false
  /** To be closed as soon as nobody uses it. */
  retired = false
  idleSinceMs = 0
  expiresAtMs = Number.POSITIVE_INFINITY
  /** Compared by identity with a waiter's: an equal one is handed out first. */
  flavor: object | undefined

  constructor(pool: Pool<M>) {
    this.pool = pool
  }

  /** Closes the connection. PoolSet.removed follows when it is gone, never during this call. */
  abstract shut(reason: CloseReason): void
}
