// What a request for a lock does next, from how the lock stands: pure, so that every case can be
// looked at by itself.
import { WAITERS_MAX } from './limits.ts'
import { requestKey } from './keys.ts'
import type { Holder, LockSnapshot, Waiter } from './snapshot.ts'

/** Who asks. */
export type Asker = {
  readonly client: string
  readonly requestId: string
  /** Of the lease that its keys are to live under. */
  readonly lease: string
  readonly wait: boolean
}

/** What is to be done. */
export type Step =
  /** The lock is this request's, under its lease. */
  | { readonly kind: 'granted'; readonly token: bigint }
  /** It is this request's, under a lease that another process keeps: goes on under its own. */
  | { readonly kind: 'adopt holder'; readonly holder: Holder }
  /** Nobody holds it or waits: takes it. */
  | { readonly kind: 'take' }
  /** It is first in line, and nobody holds it. */
  | { readonly kind: 'claim'; readonly waiter: Waiter }
  /** It stands in line, under a lease that another process keeps. */
  | { readonly kind: 'adopt waiter'; readonly waiter: Waiter }
  /** It stands in line; something can change for it when one of `until` goes:
   * the one before it, or its own place, which somebody may move. */
  | { readonly kind: 'wait'; readonly position: number; readonly until: readonly string[] }
  | { readonly kind: 'enqueue' }
  /** It had the lock, and that is over. */
  | { readonly kind: 'finished' }
  | { readonly kind: 'full' }
  | { readonly kind: 'held' }

/** The next step of `asker`. */
export function nextStep(snapshot: LockSnapshot, asker: Asker): Step {
  const { holder, waiters, keys, granted } = snapshot
  const token = granted.get(requestKey(keys, asker))
  if (token !== undefined) {
    if (holder?.token !== token) return { kind: 'finished' }
    const ours = holder.entry.lease === asker.lease
    return ours ? { kind: 'granted', token } : { kind: 'adopt holder', holder }
  }
  const position = waiters.findIndex((waiter) => isOf(waiter, asker))
  const waiter = waiters[position]
  if (waiter === undefined) {
    if (holder === undefined && waiters.length === 0) return { kind: 'take' }
    if (!asker.wait) return { kind: 'held' }
    return { kind: waiters.length < WAITERS_MAX ? 'enqueue' : 'full' }
  }
  if (waiter.entry.lease !== asker.lease) return { kind: 'adopt waiter', waiter }
  if (position === 0 && holder === undefined) return { kind: 'claim', waiter }
  const behind = waiters[position - 1]?.entry.key ?? keys.holder
  return { kind: 'wait', position, until: [behind, waiter.entry.key] }
}

/** Whether a waiter is that request. */
export function isOf(
  waiter: Waiter,
  request: { readonly client: string; readonly requestId: string },
): boolean {
  return waiter.client === request.client && waiter.requestId === request.requestId
}
