// Goal: failover does not need the topology: with etcd dead, and a gateway, an orchestrator and a
// follower's pooler started anew meanwhile, a killed leader is replaced and no write is lost.
// Method: a site on an etcd of the test's; what is started anew knows the others from its file only.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { debianTool } from '../support/debian.ts'
import { startEtcd, type EtcdCluster } from '../support/etcd.ts'
import { Random, runSeed } from '../support/random.ts'
import { READERS, ROUNDS, TEST_MS, WRITERS } from './budget.ts'
import { judge, playRounds } from './rounds.ts'
import type { Service } from './service.ts'
import { startSite, type Site } from './site.ts'
import { Workload } from './workload.ts'

const missing = 'skipped' in (await debianTool('etcd'))

let etcd: EtcdCluster
let site: Site
let workload: Workload
beforeAll(async () => {
  if (missing) return
  const started = await startEtcd()
  if ('skipped' in started) throw new Error(started.skipped)
  etcd = started
  const random = new Random(runSeed('etcd'))
  site = await startSite({ topology: etcd.spec('mg'), gateways: 2 })
  const addresses = site.gateways.map(({ address }) => address)
  const crowd = { writers: WRITERS, readers: READERS, listers: 2, bankers: 2 }
  workload = new Workload({ addresses, random, ...crowd })
  await workload.start()
}, TEST_MS)
afterAll(async () => {
  await workload?.[Symbol.asyncDispose]()
  await site?.[Symbol.asyncDispose]()
  await etcd?.[Symbol.asyncDispose]()
}, TEST_MS)

/** kill -9, and a new process in its place. */
async function restart(service: Service | undefined): Promise<void> {
  await service?.kill()
  service?.start()
}

for (const target of ['postgres', 'all'] as const) {
  test.skipIf(missing)(
    `without etcd the leader's ${target} is killed`,
    async () => {
      await etcd.kill()
      const leader = await site.whole()
      const follower = site.nodes.find((node) => node !== leader)
      await restart(site.gateways[0]?.service)
      await restart(site.orchs[0])
      await restart(follower?.pooler)
      // The orchestrator that knew everybody from before is no help either.
      await site.orchs[1]?.kill()
      const name = `no etcd, kill ${target}`
      const fault = (node: typeof leader): void => node.kill(target)
      const results = await playRounds({ name, site, workload, fault, count: ROUNDS })
      expect(results.flatMap(({ anomalies }) => anomalies)).toEqual([])
      await etcd.start()
    },
    TEST_MS,
  )
}

test.skipIf(missing)(
  'the whole history is sound',
  async () => expect(await judge(site, workload)).toEqual([]),
  TEST_MS,
)
