// Ends recovery, on exactly the timeline that was asked for.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { PgError } from '../../shared/errors/pg-error.ts'
import { parseLsn } from '../../shared/pgwire/lsn.ts'
import { forkPointOf } from '../../shared/replication/timeline-history.ts'
import { now, sleep } from '../../shared/time/clock.ts'
import { writeDurably } from '../files/durable.ts'
import { ask } from './ask.ts'
import { controlTimeline, readPgControl } from './pg-control.ts'
import type { Postmaster } from './postmaster.ts'
import { reserveTimelines, type PromotionPoint } from './reserve-timelines.ts'
import type { RunAs } from './run-as.ts'
import { historyPath, knownTimelines, newestWalTimeline, readHistory } from './timeline-history.ts'

/** Which server, and to which timeline. */
export interface PromoteOptions {
  readonly dataDir: string
  readonly runAs: RunAs
  readonly socket: string
  readonly user: string
  readonly timeline: number
}

/** How long to wait. `signal` ends the wait; the promotion itself cannot be taken back. */
export interface PromoteWait {
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

const ASK_TIMEOUT_MS = 5000
const POLL_MS = 5 // pg_promote sleeps in steps of 100 ms; a failover waits for this
const WHERE = `select pg_is_in_recovery(), pg_last_wal_replay_lsn(),
  greatest((select timeline_id from pg_control_checkpoint()),
    (select min_recovery_end_timeline from pg_control_recovery()),
    (select received_tli from pg_stat_wal_receiver))`

/**
 * Tells a standby to promote itself. Promoted to that very timeline already: nothing to do.
 * @throws PgError object_not_in_prerequisite_state when it is a primary on another timeline or the
 * timeline is taken, cannot_connect_now when it does not answer.
 */
export async function beginPromotion(
  postmaster: Postmaster,
  options: PromoteOptions,
): Promise<void> {
  const { dataDir, runAs, timeline } = options
  const point = await promotionPoint(options)
  if (point === undefined) return requireTimeline(dataDir, timeline)
  reserveTimelines(point, timeline)
  writeDurably(join(dataDir, 'promote'), '', { runAs })
  if (!postmaster.signal('SIGUSR1')) throw failed('Postgres ended')
}

/**
 * Waits until the promotion is done, on the timeline that was asked for.
 * @throws PgError query_canceled at the deadline (it may still be promoted later), internal_error
 * when Postgres ended, object_not_in_prerequisite_state when it took another timeline.
 */
export async function finishPromotion(
  postmaster: Postmaster,
  options: PromoteOptions & PromoteWait,
): Promise<void> {
  await untilPromoted(postmaster, options)
  requireTimeline(options.dataDir, options.timeline)
}

/** Where the standby stands; undefined when it is a primary already. */
async function promotionPoint(options: PromoteOptions): Promise<PromotionPoint | undefined> {
  const { dataDir, runAs, socket, user } = options
  const answer = await ask({ socket, user, sql: WHERE, timeoutMs: ASK_TIMEOUT_MS })
  if (answer.kind !== 'rows') {
    const why = answer.kind === 'refused' ? answer.message : `its socket is ${answer.kind}`
    throw new PgError('cannot_connect_now', `cannot promote ${dataDir}: ${why}`)
  }
  const [recovering, lsn, recorded] = answer.rows[0] ?? []
  if (recovering !== 't') return undefined
  const replayLsn = parseLsn(lsn ?? '0/0')
  const known = Math.max(Number(recorded), newestWalTimeline(dataDir))
  const timeline = currentTimeline(dataDir, { recorded: known, replayLsn })
  return { dataDir, runAs, timeline }
}

/**
 * The timeline that recovery aims at, as Postgres picks it: the newest one known here that contains
 * the recorded one up to what was replayed.
 */
function currentTimeline(dataDir: string, at: { recorded: number; replayLsn: bigint }): number {
  const descendants = knownTimelines(dataDir).filter((timeline) => {
    if (timeline <= at.recorded) return false
    const left = forkPointOf(readHistory(dataDir, timeline), at.recorded)
    return left !== undefined && left >= at.replayLsn
  })
  return descendants.at(-1) ?? at.recorded
}

async function untilPromoted(
  postmaster: Postmaster,
  options: PromoteOptions & PromoteWait,
): Promise<void> {
  const { dataDir, timeline, timeoutMs, signal } = options
  const end = now() + timeoutMs
  while (readPgControl(dataDir).state !== 'in production') {
    if (!postmaster.alive) throw failed('Postgres ended during the promotion')
    if (now() > end) {
      const waited = `did not end recovery within ${timeoutMs} ms`
      throw new PgError('query_canceled', `promotion to timeline ${timeline}: ${dataDir} ${waited}`)
    }
    signal.throwIfAborted()
    await sleep(POLL_MS)
  }
}

function requireTimeline(dataDir: string, wanted: number): void {
  const taken = controlTimeline(readPgControl(dataDir))
  if (taken === wanted && existsSync(historyPath(dataDir, wanted))) return
  throw new PgError(
    'object_not_in_prerequisite_state',
    `${dataDir} is a primary on timeline ${taken}, not on ${wanted}`,
  )
}

const failed = (why: string) => new PgError('internal_error', `promotion failed: ${why}`)
