// Goal: whatever dies with kill -9, no acknowledged write is lost on any later leader, nothing
// stale is read, and clients wait for a failover at most.
// Method: rounds of a kill under writers, readers, transactions and trouble; what dies stays dead
// until clients get through again, and is then started anew. CHAOS_ROUNDS=50 CHAOS_WRITERS=32
// CHAOS_READERS=16 for the whole of it. Times are printed, not judged: the machine may be busy.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Random, runSeed } from '../support/random.ts'
import { READERS, ROUNDS, TEST_MS, WRITERS } from './budget.ts'
import { TARGETS } from './node.ts'
import { judge, playRounds } from './rounds.ts'
import { startSite, type Site } from './site.ts'
import { Workload } from './workload.ts'

/**
 * A query that ends several leaders within two seconds of their beginning stops failovers. To
 * Postgres a backend that is killed was ended by its query, and those of readers are all alike.
 */
const REST_MS = 2000

for (const supervised of [false, true]) {
  describe(supervised ? 'what dies is started again' : 'what dies stays dead', () => {
    let site: Site
    let workload: Workload
    beforeAll(async () => {
      const random = new Random(runSeed('chaos'))
      site = await startSite({ supervised })
      const addresses = site.gateways.map(({ address }) => address)
      const crowd = { writers: WRITERS, readers: READERS, listers: 2, bankers: 2, trouble: true }
      workload = new Workload({ addresses, random, ...crowd })
      await workload.start()
    }, TEST_MS)
    afterAll(async () => {
      await workload?.[Symbol.asyncDispose]()
      await site?.[Symbol.asyncDispose]()
    }, TEST_MS)

    for (const target of TARGETS) {
      test(
        `kill -9 of the leader's ${target}`,
        async () => {
          const name = `kill ${target}`
          const fault = (leader: { kill(what: typeof target): void }) => leader.kill(target)
          const restMs = target === 'backend' ? REST_MS : 0
          const rounds = { name, site, workload, fault, count: ROUNDS, restMs }
          const results = await playRounds(rounds)
          expect(results.flatMap(({ anomalies }) => anomalies)).toEqual([])
        },
        TEST_MS,
      )
    }

    test(
      'the whole history is sound',
      async () => expect(await judge(site, workload)).toEqual([]),
      TEST_MS,
    )
  })
}
