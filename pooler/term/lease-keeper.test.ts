// Goal: a leader keeps its lease where answers take most of it, as on a machine with too much to
// do, and has it back as soon as a network has healed.
import { expect, test } from 'bun:test'
import { PoolerService } from '../../proto/gen/pooler.ts'
import type { Rule } from '../../shared/consensus/rule.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { startRpcServer, unary } from '../../shared/rpc/server.ts'
import { pause } from '../../test/support/pace.ts'
import { until } from '../../test/support/until.ts'
import { CutProxy } from '../../test/topology/cut-proxy.ts'
import { Lease } from './lease.ts'
import { LeaseKeeper, type LeaseKeeperOptions } from './lease-keeper.ts'

const OPTIONS = { address: '127.0.0.1:0', token: undefined, log: nullLogger }
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

const { grant: definition } = PoolerService

/** One that leads and asks `b` at `grpc`; and its lease. */
function leader(grpc: string): { lease: Lease; keeper: LeaseKeeper } {
  const lease = new Lease()
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
    directory: { poolers: new Map([['b', { record: { grpc } }]]) },
    token: undefined,
  }
  return { lease, keeper: new LeaseKeeper(stand as unknown as LeaseKeeperOptions) }
}

test('an answer is not waited for before the next request', async () => {
  let answered = 0
  await using server = await startRpcServer(OPTIONS)
  const grant = unary(async () => {
    await pause(ANSWER_MS)
    answered += 1
    return { granted: true, reason: '' }
  })
  server.add({ grant: definition }, { grant })
  const { lease, keeper } = leader(`127.0.0.1:${server.port}`)
  using _ = keeper
  await until(() => answered >= 4, { deadlineMs: 15_000, what: 'four grants' })
  expect(lease.lowestMs).toBeGreaterThan(0)
})

test('who does not answer over a connection any more is asked over another one', async () => {
  let answered = 0
  await using server = await startRpcServer(OPTIONS)
  const grant = unary(async () => {
    answered += 1
    return { granted: true, reason: '' }
  })
  server.add({ grant: definition }, { grant })
  await using wire = await CutProxy.to(server.port)
  const { lease, keeper } = leader(wire.address)
  using _ = keeper
  await until(() => lease.holds())
  wire.mute()
  await until(() => !lease.holds())
  const before = answered
  await until(() => lease.holds() && answered > before)
})
