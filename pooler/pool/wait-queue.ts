import { assert } from '../../shared/errors/assert.ts'
import type { PoolMember } from './pool-member.ts'
import type { PoolWaiter } from './pool-waiter.ts'
import type { Pool } from './pool.ts'

/** Puts `waiter` last in the queue of `pool`. */
export function enqueue<M extends PoolMember<M>>(pool: Pool<M>, waiter: PoolWaiter<M>): void {
  waiter.waitsIn = pool
  waiter.previousWaiter = pool.lastWaiter
  waiter.nextWaiter = undefined
  if (pool.lastWaiter === undefined) pool.firstWaiter = waiter
  else pool.lastWaiter.nextWaiter = waiter
  pool.lastWaiter = waiter
  pool.waiting++
}

/** Takes `waiter` out of its queue, wherever in it it stands. */
export function unlink<M extends PoolMember<M>>(waiter: PoolWaiter<M>): void {
  const pool = waiter.waitsIn
  assert(pool !== undefined, 'only who waits leaves a queue')
  const { previousWaiter, nextWaiter } = waiter
  if (previousWaiter === undefined) pool.firstWaiter = nextWaiter
  else previousWaiter.nextWaiter = nextWaiter
  if (nextWaiter === undefined) pool.lastWaiter = previousWaiter
  else nextWaiter.previousWaiter = previousWaiter
  waiter.waitsIn = waiter.previousWaiter = waiter.nextWaiter = undefined
  pool.waiting--
}
