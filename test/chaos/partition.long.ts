// Goal: a leader that was out of the world for a while returns nothing older than what its
// successor has acknowledged.
// Method: the leader's pooler (and its Postgres) and a gateway are frozen; the others appoint a new
// leader, which acknowledges writes; clients of the frozen gateway, and of the frozen pooler itself,
// ask; all go on. A lease longer than the failover would take shows that the successor waits for it.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { pause } from '../support/pace.ts'
import { Random, runSeed } from '../support/random.ts'
import { until } from '../support/until.ts'
import { ROUNDS, TEST_MS } from './budget.ts'
import { checkLogs } from './check-log.ts'
import { distribution } from './gaps.ts'
import type { Target } from './node.ts'
import { OldSide } from './old-side.ts'
import { judge } from './rounds.ts'
import { startSite, type Site } from './site.ts'
import { Workload } from './workload.ts'

const AGAIN_MS_MAX = 30_000
const ASK_MS = 1500

for (const leaseMs of [1000, 5000]) {
  describe(`a leader with a lease of ${leaseMs} ms`, () => {
    let site: Site
    let workload: Workload
    beforeAll(async () => {
      const random = new Random(runSeed('partition'))
      site = await startSite({ gateways: 2, leaseMs })
      const addresses = site.gateways.slice(0, 1).map(({ address }) => address)
      workload = new Workload({ addresses, random, writers: 2, readers: 2 })
      await workload.start()
    }, TEST_MS)
    afterAll(async () => {
      await workload?.[Symbol.asyncDispose]()
      await site?.[Symbol.asyncDispose]()
    }, TEST_MS)

    for (const targets of [['pooler'], ['pooler', 'postgres']] satisfies Target[][]) {
      test(
        `frozen with its ${targets.join(' and ')}`,
        async () => {
          const failovers: number[] = []
          for (let round = 0; round < ROUNDS; round += 1) failovers.push(await freezeOnce(targets))
          const name = `frozen ${targets.join('+')}, lease ${leaseMs}`
          console.error(`${name}: written again after ${distribution(failovers)}`)
          expect(checkLogs(workload.history)).toEqual([])
        },
        TEST_MS,
      )
    }

    test(
      'the whole history is sound',
      async () => expect(await judge(site, workload)).toEqual([]),
      TEST_MS,
    )

    /** How long it took until a write was acknowledged again. */
    async function freezeOnce(targets: readonly Target[]): Promise<number> {
      const leader = await site.whole()
      await using oldSide = new OldSide(site, leader)
      await until(() => oldSide.prepare().then(() => true), AGAIN_MS_MAX)
      const gateway = site.gateways[1]?.service
      gateway?.signal('SIGSTOP')
      leader.freeze(...targets)
      const frozenMs = performance.now()
      await acknowledgedSince(frozenMs + 200) // what was on its way may still come
      const failoverMs = performance.now() - frozenMs
      const asking = oldSide.ask()
      await acknowledgedSince(performance.now())
      leader.thaw()
      gateway?.signal('SIGCONT')
      await pause(ASK_MS)
      const reads = oldSide.finish()
      await Promise.all(asking)
      workload.history.push(...reads)
      const early = reads.filter(({ endedMs }) => endedMs < frozenMs + failoverMs + ASK_MS).length
      console.error(
        `frozen ${targets.join('+')}, lease ${leaseMs}: written again after ` +
          `${failoverMs.toFixed(0)} ms, ${reads.length} reads of the old side (${early} early)`,
      )
      return failoverMs
    }

    async function acknowledgedSince(fromMs: number): Promise<void> {
      await until(
        () =>
          workload.history.some((done) => {
            return done.kind === 'write' && done.outcome === 'ok' && done.invokedMs >= fromMs
          }),
        { deadlineMs: AGAIN_MS_MAX, what: 'a write is acknowledged' },
      )
    }
  })
}
