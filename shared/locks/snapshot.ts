// A lock as it was at one revision of the store: who holds it, who waits, in which order.
import type { Entry } from '../topology/topology.ts'
import { placeOf, type LockKeys, type Place } from './keys.ts'

/** What a holder's key says. */
export type HolderValue = {
  readonly client: string
  readonly requestId: string
  readonly acquiredAtMs: number
  readonly modifiedAtMs: number
  readonly ttlMs: number
  readonly metadata: Readonly<Record<string, string>>
}

/** What a waiter's key says. */
export type WaiterValue = {
  readonly requestId: string
  readonly enqueuedAtMs: number
  readonly timeoutAtMs: number
}

/** Who holds it. */
export type Holder = HolderValue & { readonly entry: Entry; readonly token: bigint }

/** Who waits. */
export type Waiter = WaiterValue & Place & { readonly entry: Entry }

/** One lock at one revision. */
export type LockSnapshot = {
  readonly keys: LockKeys
  readonly revision: bigint
  readonly holder: Holder | undefined
  /** The first one is next. */
  readonly waiters: readonly Waiter[]
  /** Revision of the last addition to the queue; 0n when there is no record of one. */
  readonly queueRevision: bigint
  readonly nextTicket: number
  /** Key of a granted request -> the token it got. */
  readonly granted: ReadonlyMap<string, bigint>
}

/** Reads the entries of one lock, all of one list. What cannot be read is no part of it. */
export function readSnapshot(
  keys: LockKeys,
  { entries, revision }: { readonly entries: readonly Entry[]; readonly revision: bigint },
): LockSnapshot {
  let holder: Holder | undefined
  let queueRevision = 0n
  let nextTicket = 0
  const waiters: Waiter[] = []
  const granted = new Map<string, bigint>()
  for (const entry of entries) {
    const place = placeOf(keys, entry.key)
    if (entry.key === keys.holder) {
      holder = { ...parse<HolderValue>(entry), entry, token: entry.createRevision }
    } else if (entry.key === keys.queue) {
      queueRevision = entry.revision
      nextTicket = Number(entry.value)
    } else if (place === undefined) {
      granted.set(entry.key, entry.revision)
    } else {
      waiters.push({ ...parse<WaiterValue>(entry), ...place, entry })
    }
  }
  return { keys, revision, holder, waiters, queueRevision, nextTicket, granted }
}

/** Only this folder writes these keys; a value that is not JSON is somebody's mistake. */
function parse<T>(entry: Entry): T {
  try {
    return JSON.parse(entry.value) as T
  } catch (cause) {
    throw new Error(`the lock record at ${entry.key} is not JSON`, { cause })
  }
}
