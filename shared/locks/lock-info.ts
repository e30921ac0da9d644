import { lockOf } from './keys.ts'
import type { LockSnapshot, Waiter } from './snapshot.ts'

/** One who waits. Times are those of the waiter's own wall clock. */
export type WaiterInfo = {
  readonly client: string
  readonly requestId: string
  readonly priority: number
  /** 0 is next. */
  readonly position: number
  readonly enqueuedAt: Date
  readonly timeoutAt: Date
}

/** A lock as it was at one revision. Times are those of the holder's own wall clock. */
export type LockInfo = {
  readonly lockId: string
  /** Absent when nobody holds it. */
  readonly owner?: string
  readonly token?: bigint
  readonly acquiredAt?: Date
  readonly ttlMs?: number
  /** How long it is held without another sign of life, about; absent when that is not known. */
  readonly remainingMs?: number
  readonly metadata: Readonly<Record<string, string>>
  readonly lastModified: Date
  readonly waiterCount: number
  readonly waiters: readonly WaiterInfo[]
}

/** Which locks to list; a lock has to fit all that is given. */
export type LockFilter = {
  readonly owner?: string
  /** What its name starts with. */
  readonly prefix?: string
  /** Somebody waits. */
  readonly contested?: boolean
  readonly expiringWithinMs?: number
}

/** What is shown of a lock; undefined when nobody holds it or waits. */
export function lockInfo(
  snapshot: LockSnapshot,
  remainingMs: number | undefined,
): LockInfo | undefined {
  const { holder, waiters, keys } = snapshot
  if (holder === undefined && waiters.length === 0) return undefined
  const times = [holder?.modifiedAtMs ?? 0, ...waiters.map(({ enqueuedAtMs }) => enqueuedAtMs)]
  const held = holder && {
    owner: holder.client,
    token: holder.token,
    acquiredAt: new Date(holder.acquiredAtMs),
    ttlMs: holder.ttlMs,
    ...(remainingMs === undefined ? {} : { remainingMs }),
  }
  return {
    lockId: lockOf(keys.prefix) ?? '',
    ...held,
    metadata: holder?.metadata ?? {},
    lastModified: new Date(Math.max(...times)),
    waiterCount: waiters.length,
    waiters: waiters.map(waiterInfo),
  }
}

/** Whether a lock is asked for by `filter`. */
export function fits(info: LockInfo, filter: LockFilter): boolean {
  const { owner, prefix, contested, expiringWithinMs } = filter
  if (owner !== undefined && info.owner !== owner) return false
  if (prefix !== undefined && !info.lockId.startsWith(prefix)) return false
  if (contested !== undefined && info.waiterCount > 0 !== contested) return false
  return expiringWithinMs === undefined || (info.remainingMs ?? Infinity) <= expiringWithinMs
}

function waiterInfo(waiter: Waiter, position: number): WaiterInfo {
  const { client, requestId, priority, enqueuedAtMs, timeoutAtMs } = waiter
  const times = { enqueuedAt: new Date(enqueuedAtMs), timeoutAt: new Date(timeoutAtMs) }
  return { client, requestId, priority, position, ...times }
}
