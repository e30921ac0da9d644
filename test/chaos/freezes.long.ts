// Goal: a leader that is frozen is replaced, and when it goes on it neither loses an acknowledged
// write, nor leads beside its successor, nor stays away.
// Method: rounds of SIGSTOP of processes of the leader under writers, readers and transactions,
// SIGCONT after CHAOS_SECONDS (3, 10, ...). Times are printed, not judged.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { pause } from '../support/pace.ts'
import { Random, runSeed } from '../support/random.ts'
import { READERS, ROUNDS, SECONDS, TEST_MS, WRITERS } from './budget.ts'
import type { SiteNode, Target } from './node.ts'
import { judge, playRounds } from './rounds.ts'
import { startSite, type Site } from './site.ts'
import { Workload } from './workload.ts'

const FROZEN: Target[] = ['pooler', 'postmaster', 'postgres', 'all']

let site: Site
let workload: Workload
beforeAll(async () => {
  const random = new Random(runSeed('freezes'))
  site = await startSite()
  const addresses = site.gateways.map(({ address }) => address)
  const crowd = { writers: WRITERS, readers: READERS, listers: 2, bankers: 2 }
  workload = new Workload({ addresses, random, ...crowd })
  await workload.start()
}, TEST_MS)
afterAll(async () => {
  await workload?.[Symbol.asyncDispose]()
  await site?.[Symbol.asyncDispose]()
}, TEST_MS)

for (const seconds of SECONDS) {
  for (const target of FROZEN) {
    test(
      `SIGSTOP of the leader's ${target} for ${seconds} s`,
      async () => {
        const name = `freeze ${target} ${seconds} s`
        const fault = async (leader: SiteNode): Promise<void> => {
          leader.freeze(target)
          await pause(seconds * 1000)
          leader.thaw()
        }
        const results = await playRounds({ name, site, workload, fault, count: ROUNDS })
        expect(results.flatMap(({ anomalies }) => anomalies)).toEqual([])
      },
      TEST_MS,
    )
  }
}

test(
  'the whole history is sound',
  async () => expect(await judge(site, workload)).toEqual([]),
  TEST_MS,
)
