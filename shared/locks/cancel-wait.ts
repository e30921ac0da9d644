import type { Topology } from '../topology/topology.ts'
import { LockError } from './errors.ts'
import { requestKey, type LockKeys } from './keys.ts'
import { isOf } from './next-step.ts'
import { readSnapshot } from './snapshot.ts'

/** What came of leaving a line: exactly one of the two. */
export type CancelOutcome =
  | { readonly kind: 'cancelled' }
  /** It was faster: the lock is the request's, to be used or released. */
  | { readonly kind: 'granted'; readonly token: bigint }

/**
 * Takes a request out of the line. @throws LockError NOT_WAITING when it neither waits nor holds;
 * TopologyError.
 */
export async function cancelWait(
  topology: Topology,
  keys: LockKeys,
  request: { readonly client: string; readonly requestId: string },
): Promise<CancelOutcome> {
  for (;;) {
    const snapshot = readSnapshot(keys, await topology.list(keys.prefix))
    const waiter = snapshot.waiters.find((one) => isOf(one, request))
    if (waiter === undefined) {
      const token = snapshot.granted.get(requestKey(keys, request))
      if (token !== undefined && snapshot.holder?.token === token) return { kind: 'granted', token }
      throw new LockError('NOT_WAITING', `${request.client} does not wait for this lock`)
    }
    const { key, revision } = waiter.entry
    const compares = [{ key, revision }]
    const writes = [{ delete: key }]
    if (snapshot.waiters.length === 1 && snapshot.queueRevision > 0n) {
      compares.push({ key: keys.queue, revision: snapshot.queueRevision })
      writes.push({ delete: keys.queue })
    }
    if (await topology.transaction({ compares, writes })) return { kind: 'cancelled' }
  }
}
