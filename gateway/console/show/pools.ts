// SHOW POOLS: one row a pair of database and user.

import type { Row } from '../columns.ts'
import { CONSOLE_DATABASE } from '../console-database.ts'
import type { Picture } from '../picture.ts'
import { isOurs, seconds, serverState } from './sockets.ts'

/** What one row counts. */
class Counts {
  clActive = 0
  clWaiting = 0
  svActive = 0
  svIdle = 0
  svTested = 0
  svLogin = 0
  svCanceled = 0
  svOthers = 0
  svPinned = 0
  maxWaitMs = 0
}

/** One row for each pair that has clients or backends. */
export function poolRows(picture: Picture): Row[] {
  const pools = new Map<string, { database: string; user: string; counts: Counts }>()
  const countsOf = ({ database, user }: { database: string; user: string }): Counts => {
    const key = JSON.stringify([database, user])
    const known = pools.get(key)
    if (known !== undefined) return known.counts
    const counts = new Counts()
    pools.set(key, { database, user, counts })
    return counts
  }
  countClients(picture, countsOf)
  countServers(picture, countsOf)
  const rows = [...pools.values()].map(({ database, user, counts }) => {
    return poolRow({ database, user, poolMode: 'transaction' }, counts)
  })
  const admins = new Counts()
  admins.clActive = picture.consoles.length
  const admin = { database: CONSOLE_DATABASE, user: CONSOLE_DATABASE, poolMode: 'statement' }
  return [poolRow(admin, admins), ...rows]
}

type CountsOf = (key: { database: string; user: string }) => Counts

function countClients({ clients }: Picture, countsOf: CountsOf): void {
  for (const { view, state, waitMs } of clients) {
    const counts = countsOf(view)
    if (state === 'waiting') {
      counts.clWaiting += 1
      counts.maxWaitMs = Math.max(counts.maxWaitMs, waitMs)
    } else {
      counts.clActive += 1
    }
  }
}

function countServers({ servers }: Picture, countsOf: CountsOf): void {
  for (const server of servers) {
    const { backend } = server
    const counts = countsOf(backend)
    const state = serverState(server)
    if (!isOurs(server)) counts.svOthers += 1
    else if (state === 'new') counts.svLogin += 1
    else if (backend.cancels > 0 && backend.owner === null) counts.svCanceled += 1
    else if (state === 'active') counts.svActive += 1
    else if (state === 'tested') counts.svTested += 1
    else counts.svIdle += 1
    if (isOurs(server) && isPinned(backend.pins)) counts.svPinned += 1
  }
}

/** It stays with its session beyond the transaction. */
function isPinned(pins: readonly string[]): boolean {
  return pins.some((pin) => pin !== 'transaction' && pin !== 'batch' && pin !== 'slow client')
}

function poolRow(pool: { database: string; user: string; poolMode: string }, counts: Counts): Row {
  const maxWait = seconds(counts.maxWaitMs)
  return {
    database: pool.database,
    user: pool.user,
    cl_active: counts.clActive,
    cl_waiting: counts.clWaiting,
    cl_active_cancel_req: 0,
    cl_waiting_cancel_req: 0,
    sv_active: counts.svActive,
    sv_active_cancel: 0,
    sv_being_canceled: counts.svCanceled,
    sv_idle: counts.svIdle,
    sv_used: 0,
    sv_tested: counts.svTested,
    sv_login: counts.svLogin,
    maxwait: maxWait.whole,
    maxwait_us: maxWait.micros,
    pool_mode: pool.poolMode,
    load_balance_hosts: null,
    sv_others: counts.svOthers,
    sv_pinned: counts.svPinned,
  }
}
