// Rounds of harm: the site is whole, something happens to its leader, clients get through again,
// what died returns, and every acknowledged write is on whoever leads now.
import { loadavg } from 'node:os'
import { HOGS, TELL_MS } from './budget.ts'
import { checkBank } from './check-bank.ts'
import { checkLists } from './check-lists.ts'
import { checkHeld, checkLogs } from './check-log.ts'
import { BANK_TOTAL } from './bank.ts'
import { distribution } from './gaps.ts'
import type { Anomaly } from './history.ts'
import { Hogs } from './hogs.ts'
import { heldBy } from './logs.ts'
import type { SiteNode } from './node.ts'
import type { Site } from './site.ts'
import { storyLine, tellStory, type Story } from './story.ts'
import type { Workload } from './workload.ts'
import { until } from '../support/until.ts'
import { shareOf, silenceSince, unknownSince, type Yield, yieldOf } from './yields.ts'
import { pause } from '../support/pace.ts'

const QUIET_MS = 1000
const AFTER_MS = 1000
/** Of the writes of quiet periods: a site that answers everything with an error is no good. */
const QUIET_SHARE_MIN = 0.9
/** Of each service, for a round that did not end. */
const LINES_OF_LOGS = 80
const AGAIN_MS_MAX = 60_000

/** Does the harm; resolves when it is over, which may be later than the failover. */
export type Fault = (leader: SiteNode) => Promise<void> | void

/** What came of one round. */
export type RoundResult = {
  /** The longest time that one session waited for an acknowledged write. */
  readonly gapMs: number
  /** The same in the second before the fault. */
  readonly quietGapMs: number
  /** From the fault until anybody's write was acknowledged again. */
  readonly firstMs: number
  readonly story: Story
  readonly leaderChanged: boolean
  /** From the fault until the site was whole again, what died started anew. */
  readonly wholeAfterMs: number
  readonly anomalies: readonly Anomaly[]
  /** Of the second before the fault. */
  readonly quiet: Yield
  /** Writes that nobody knows of, from the fault on; without those that trouble may have hit. */
  readonly unknown: number
}

/** One round. @throws Error when the site does not become whole again. */
export async function playRound(
  site: Site,
  workload: Workload,
  fault: Fault,
): Promise<RoundResult> {
  const before = await site.whole()
  workload.takeGap()
  await pause(QUIET_MS)
  const quietGapMs = workload.takeGap()
  const quietFromMs = performance.now() - QUIET_MS
  const wallMs = Date.now()
  const hitMs = performance.now()
  const over = Promise.resolve(fault(before))
  await pause(AFTER_MS)
  await writing(workload)
  await over
  site.revive()
  const leader = await site.whole()
  const wholeAfterMs = performance.now() - hitMs
  await writing(workload)
  const gapMs = workload.takeGap()
  const firstMs = silenceSince(workload.history, hitMs).endedMs - hitMs
  const quiet = yieldOf(workload.history, quietFromMs, hitMs)
  const unknown = unknownSince(workload.history, hitMs) - workload.troublesSince(hitMs)
  const history = [...workload.history] // what came before this look at the leader
  const anomalies = checkHeld(history, await heldBy(leader), leader.id)
  const story = tellStory(site, wallMs)
  const leaderChanged = leader.id !== before.id
  const times = { gapMs, quietGapMs, firstMs, wholeAfterMs }
  return { ...times, story, leaderChanged, anomalies, quiet, unknown }
}

/** Every writer gets an acknowledgement for something that it sent from now on. */
async function writing(workload: Workload): Promise<void> {
  const fromMs = performance.now()
  const wanted = workload.meters.length
  const seen = new Set<number>()
  let at = workload.history.length
  await until(
    () => {
      for (; at < workload.history.length; at += 1) {
        const done = workload.history[at]
        if (done?.kind !== 'write' || done.outcome !== 'ok') continue
        if (done.invokedMs >= fromMs) seen.add(done.key)
      }
      return seen.size === wanted
    },
    { deadlineMs: AGAIN_MS_MAX, what: 'every writer is acknowledged again' },
  )
}

/** Plays `count` rounds, prints each and their distribution. */
export async function playRounds(options: {
  name: string
  site: Site
  workload: Workload
  fault: Fault
  count: number
  /** Between two rounds. */
  restMs?: number
}): Promise<RoundResult[]> {
  const { name, site, workload, fault, count, restMs = 0 } = options
  const results: RoundResult[] = []
  using _hogs = new Hogs(HOGS)
  for (let round = 1; round <= count; round += 1) {
    await pause(restMs)
    const result = await playRound(site, workload, fault).catch((error: unknown) => {
      console.error(`${name} ${round}/${count}: ${workload.waiting()}\n${site.logs(LINES_OF_LOGS)}`)
      throw error
    })
    results.push(result)
    const { gapMs, firstMs, story, wholeAfterMs, unknown } = result
    const timing =
      `gap ${gapMs.toFixed(0)} ms, first write ${firstMs.toFixed(0)} ms, ` +
      `whole after ${wholeAfterMs.toFixed(0)} ms`
    const what = `${storyLine(story)}; unknown ${unknown}`
    console.error(`${name} ${round}/${count}: ${timing}; ${what}`)
    if (gapMs > TELL_MS) console.error(site.logs(LINES_OF_LOGS))
  }
  console.error(`${name}: longest gap: ${distribution(results.map(({ gapMs }) => gapMs))}`)
  const quietGaps = results.map(({ quietGapMs }) => quietGapMs)
  console.error(`${name}: longest gap before that: ${distribution(quietGaps)}`)
  console.error(`${name}: first write: ${distribution(results.map(({ firstMs }) => firstMs))}`)
  const share = shareOf(results.map(({ quiet }) => quiet))
  const unknown = Math.max(...results.map((result) => result.unknown))
  const changed = results.filter(({ leaderChanged }) => leaderChanged).length
  console.error(
    `${name}: ${(share * 100).toFixed(1)} % of quiet writes acknowledged, at most ${unknown} ` +
      `of ${workload.meters.length} writers' outcomes unknown, another leads after ${changed}; ` +
      `load ${loadavg()[0]?.toFixed(1)}`,
  )
  if (share < QUIET_SHARE_MIN) throw new Error('too few quiet writes were acknowledged')
  return results
}

/** Ends the workload, compares all nodes with what clients know, and checks the history. */
export async function judge(site: Site, workload: Workload): Promise<Anomaly[]> {
  await site.whole()
  await workload.stop()
  const { ok, failed, unknown } = workload.tally()
  console.error(`acknowledged ${ok}, failed ${failed}, unknown ${unknown}; ${workload.codes()}`)
  const { history } = workload
  const leader = await site.whole()
  return [
    ...checkLogs(history),
    ...checkLists(history),
    ...checkBank(history, BANK_TOTAL),
    ...checkHeld(history, await heldBy(leader), leader.id),
  ]
}
