// A lock, to a script (JSON, snake_case) and to a person.
import type { LockInfo } from '../../shared/locks/lock-info.ts'
import { table } from './describe.ts'

/** What `locks list --json` and `locks show --json` print of a lock. */
export function lockView(info: LockInfo) {
  return {
    lock: info.lockId,
    owner: info.owner ?? null,
    token: info.token === undefined ? null : String(info.token),
    acquired_at: info.acquiredAt?.toISOString() ?? null,
    ttl_ms: info.ttlMs ?? null,
    remaining_ms: info.remainingMs ?? null,
    last_modified: info.lastModified.toISOString(),
    metadata: info.metadata,
    waiter_count: info.waiterCount,
    waiters: info.waiters.map((waiter) => ({
      position: waiter.position,
      client: waiter.client,
      request_id: waiter.requestId,
      priority: waiter.priority,
      enqueued_at: waiter.enqueuedAt.toISOString(),
      timeout_at: waiter.timeoutAt.toISOString(),
    })),
  }
}

/** A line for each. */
export function locksTable(locks: readonly LockInfo[]): string[] {
  if (locks.length === 0) return ['no lock is held or waited for']
  const rows = locks.map(
    ({ lockId, owner, token, acquiredAt, remainingMs, waiterCount, ...info }) => [
      lockId,
      owner ?? '-',
      token === undefined ? '-' : String(token),
      acquiredAt?.toISOString() ?? '-',
      seconds(remainingMs),
      String(waiterCount),
      saying(info.metadata),
    ],
  )
  return [table([['LOCK', 'OWNER', 'TOKEN', 'SINCE', 'ENDS IN', 'WAITING', 'SAYS'], ...rows])]
}

/** All that is known of one. */
export function lockLines(info: LockInfo): string[] {
  const { lockId, owner, token, acquiredAt, ttlMs, remainingMs, metadata, waiters } = info
  const held =
    owner === undefined
      ? 'nobody holds it'
      : `held by ${owner} since ${acquiredAt?.toISOString()}, token ${token}; without a sign of ` +
        `life it ends in ${seconds(remainingMs)} (of ${seconds(ttlMs)})`
  const says = saying(metadata)
  return [
    `${lockId}: ${held}`,
    ...(says === '' ? [] : [`says: ${says}`]),
    ...(waiters.length === 0 ? ['nobody waits'] : ['waiting:']),
    ...waiters.map(
      ({ position, client, priority, enqueuedAt, timeoutAt }) =>
        `  ${position + 1}. ${client}, priority ${priority}, since ${enqueuedAt.toISOString()}, ` +
        `gives up at ${timeoutAt.toISOString()}`,
    ),
  ]
}

const seconds = (ms: number | undefined): string =>
  ms === undefined ? '-' : `${(ms / 1000).toFixed(1)} s`

const saying = (metadata: Readonly<Record<string, string>>): string =>
  Object.entries(metadata)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ')
