// Goal: a leader keeps its lease where answers take most of it, as on a machine with too much to do.
import { expect, test } from 'bun:test'
import { PoolerService } from '../../proto/gen/pooler.ts'
import type { Rule } from '../../shared/consensus/rule.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { startRpcServer, unary } from '../../shared/rpc/server.ts'
import { pause } from '../../test/support/pace.ts'
import { until } from '../../test/support/until.ts'
import { Lease } from './lease.ts'
import { LeaseKeeper, type LeaseKeeperOptions } from './lease-keeper.ts'

const LEASE_MS = 1500
const ANSWER_MS = 750

const rule: Rule = {
  number: { coordinatorTerm: 1n, leaderSubterm: 0n },
  leaderId: 'a',
  cohort: ['a', 'b', 'c'].map((id) => ({ id, incarnation: id })),
  durability: 'at_least_2',
  leaseMs: LEASE_MS,
  coordinatorId: 'o',
  createdUnixMs: 1n,
}

test('an answer is not waited for before the next request', async () => {
  let answered = 0
  const options = { address: '127.0.0.1:0', token: undefined, log: nullLogger }
  await using server = await startRpcServer(options)
  const grant = unary(async () => {
    await pause(ANSWER_MS)
    answered += 1
    return { granted: true, reason: '' }
  })
  const { grant: definition } = PoolerService
  server.add({ grant: definition }, { grant })
  const lease = new Lease()
  const record = { grpc: `127.0.0.1:${server.port}` }
  const stand = {
    member: {
      lease,
      identity: { id: 'a', database: 'd', shard: 's' },
      promises: { state: { incarnation: 'a', revocation: { revokedBelowTerm: 0n } } },
      seen: {},
      appointing: rule,
      serving: { current: { serving: true } },
      publish: () => {},
      log: nullLogger,
    },
    directory: { poolers: new Map([['b', { record }]]) },
    token: undefined,
  }
  using _ = new LeaseKeeper(stand as unknown as LeaseKeeperOptions)
  await until(() => answered >= 4, { deadlineMs: 15_000, what: 'four grants' })
  expect(lease.lowestMs).toBeGreaterThan(0)
})
