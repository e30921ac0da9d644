// Goal: a leader that the network cuts off, in both directions or in one, is replaced; when it is
// healed it neither loses an acknowledged write nor leads beside its successor, and comes back.
// Method: each node in a network namespace, cut for CHAOS_SECONDS under writers, readers and
// transactions. Times are printed, not judged.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { pause } from '../support/pace.ts'
import { Random, runSeed } from '../support/random.ts'
import { READERS, ROUNDS, SECONDS, TEST_MS, WRITERS } from './budget.ts'
import { CUTS, Network } from './network.ts'
import type { SiteNode } from './node.ts'
import { judge, playRounds } from './rounds.ts'
import { startSite, type Site } from './site.ts'
import { Workload } from './workload.ts'

const NODES = 3

const network = await Network.create(NODES)
const missing = 'skipped' in network
if ('skipped' in network) console.error(`no network to cut: ${network.skipped}`)

let site: Site
let workload: Workload
beforeAll(async () => {
  if ('skipped' in network) return
  const random = new Random(runSeed('cuts'))
  site = await startSite({ poolers: NODES, hosts: network.hosts })
  const addresses = site.gateways.map(({ address }) => address)
  const crowd = { writers: WRITERS, readers: READERS, listers: 2, bankers: 2 }
  workload = new Workload({ addresses, random, ...crowd })
  await workload.start()
}, TEST_MS)
afterAll(async () => {
  await workload?.[Symbol.asyncDispose]()
  await site?.[Symbol.asyncDispose]()
  if (!('skipped' in network)) await network[Symbol.asyncDispose]()
}, TEST_MS)

for (const seconds of SECONDS) {
  for (const cut of CUTS) {
    test.skipIf(missing)(
      `the leader's packets are lost for ${seconds} s: ${cut}`,
      async () => {
        if ('skipped' in network) return
        const name = `cut ${cut} ${seconds} s`
        const fault = async ({ address: { host } }: SiteNode): Promise<void> => {
          await network.cut(host, cut)
          await pause(seconds * 1000)
          await network.heal(host)
        }
        const results = await playRounds({ name, site, workload, fault, count: ROUNDS })
        expect(results.flatMap(({ anomalies }) => anomalies)).toEqual([])
      },
      TEST_MS,
    )
  }
}

test.skipIf(missing)(
  'the whole history is sound',
  async () => expect(await judge(site, workload)).toEqual([]),
  TEST_MS,
)
