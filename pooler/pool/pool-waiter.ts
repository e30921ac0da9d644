import type { PoolMember } from './pool-member.ts'
import type { Pool } from './pool.ts'

/** Why somebody who waits gets no backend. */
export type Refusal =
  | 'timeout' // nobody gave a backend back in time
  | 'queue_full'
  | 'cannot_connect' // Postgres refuses new backends of this pool, and there is none

/** Somebody who wants a backend; a link in its pool's queue. The fields are PoolSet's own. */
export abstract class PoolWaiter<M extends PoolMember<M>> {
  waitsIn: Pool<M> | undefined
  /** Order of arrival over all pools. */
  ticket = 0
  waitsSinceMs = 0
  previousWaiter: PoolWaiter<M> | undefined
  nextWaiter: PoolWaiter<M> | undefined
  /** A backend whose flavor is this very object is preferred. */
  wantedFlavor: object | undefined

  /** Whether it can take a backend of another flavor than the wanted one. */
  suits(_member: M): boolean {
    return true
  }

  /** A backend is this waiter's from here on, until PoolSet.release. */
  abstract granted(member: M): void

  /** It no longer waits and gets none. */
  abstract refused(refusal: Refusal): void
}
