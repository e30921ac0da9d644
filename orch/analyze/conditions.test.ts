import { expect, test } from 'bun:test'
import type { StatusReply } from '../../proto/gen/pooler.ts'
import { analyze, measured } from './analyze.ts'
import { AT_RISK_MS, LAG_BYTES_MAX, LAGGING_MS, MISCONFIGURED_MS, STUCK_MS } from './conditions.ts'
import { PATIENCE, shard, TRIO, trio } from './fixtures.ts'
import type { Problem } from './problem.ts'
import type { ShardSnapshot } from './snapshot.ts'

const [LEADER, SECOND, THIRD] = TRIO

/** The trio, with some of a member's status replaced. */
function looking(id: string, change: (status: StatusReply) => Partial<StatusReply>): ShardSnapshot {
  const members = trio({ [LEADER]: { serving: true, state: 'primary' } }).map((member) => {
    if (member.id !== id || member.status === undefined) return member
    return { ...member, status: { ...member.status, ...change(member.status) } }
  })
  return shard(members)
}

function found(snapshot: ShardSnapshot, heldMs: number): Problem[] {
  const timers = new Map(measured(snapshot).map((name) => [name, heldMs]))
  return analyze(snapshot, timers, PATIENCE)
}
const codes = (problems: readonly Problem[]): string[] => problems.map(({ code }) => code)

const stream = (id: string, flushLsn: bigint, falseFlush = false) => ({
  id,
  state: 'streaming',
  sentLsn: 100n,
  flushLsn,
  replayLsn: flushLsn,
  falseFlush,
})

test('a leader whose quorum has flushed all is not stuck, whoever is behind', () => {
  const followers = [stream(SECOND, 100n), stream(THIRD, 7n)]
  expect(
    codes(
      found(
        looking(LEADER, () => ({ followers })),
        60_000,
      ),
    ),
  ).toEqual([])
})

test('a leader is stuck when its quorum’s point stays, and only that very point counts', () => {
  const at = (lsn: bigint) =>
    looking(LEADER, () => ({ followers: [stream(SECOND, lsn), stream(THIRD, 7n)] }))
  expect(codes(found(at(50n), STUCK_MS))).toEqual(['LEADER_STUCK'])
  expect(codes(found(at(50n), STUCK_MS - 1))).toEqual([])
  expect(measured(at(50n))).not.toEqual(measured(at(51n)))
  // What claims more than it was sent does not help.
  const liars = looking(LEADER, () => ({ followers: [stream(SECOND, 120n, true)] }))
  expect(codes(found(liars, STUCK_MS))).toEqual(['LEADER_STUCK', 'MEMBER_FALSE_FLUSH'])
})

test('a shard is at risk when its leader could not be replaced', () => {
  const gone = shard(
    trio({ [LEADER]: { serving: true, state: 'primary' }, [THIRD]: { state: 'stopped' } }),
  )
  expect(codes(found(gone, AT_RISK_MS))).toContain('SHARD_AT_RISK')
  expect(codes(found(gone, AT_RISK_MS - 1))).not.toContain('SHARD_AT_RISK')
})

test('who acknowledges commits is not who the rule says', () => {
  const changed = (id: string, names: string) =>
    looking(id, ({ postgres }) => ({
      ...(id === LEADER ? { followers: [stream(SECOND, 100n), stream(THIRD, 100n)] } : {}),
      postgres: postgres && { ...postgres, synchronousStandbyNames: names },
    }))
  for (const [id, names] of [
    [LEADER, ''],
    [LEADER, `ANY 1 ("${SECOND}")`],
    [SECOND, ''],
  ] as const) {
    const problems = found(changed(id, names), MISCONFIGURED_MS).filter(
      ({ code }) => code !== 'LEADER_STUCK',
    )
    expect(problems).toMatchObject([{ code: 'MEMBER_MISCONFIGURED', member: id }])
  }
})

test('a follower lags that has much to replay, for a while', () => {
  const far = looking(LEADER, ({ position }) => ({
    position: position && { ...position, lsn: LAG_BYTES_MAX + 1000n },
    followers: [stream(SECOND, LAG_BYTES_MAX + 1000n)],
  }))
  expect(codes(found(far, LAGGING_MS))).toEqual(['MEMBER_LAGGING', 'MEMBER_LAGGING'])
  expect(codes(found(far, LAGGING_MS - 1))).toEqual([])
})

test('a primary beside the leader is called by its name, and made to follow', () => {
  const two = shard(
    trio({ [LEADER]: { serving: true, state: 'primary' }, [SECOND]: { state: 'primary' } }),
  )
  const problem = found(two, 0).find(({ member }) => member === SECOND)
  expect(problem).toMatchObject({ code: 'MEMBER_IS_WRITABLE', action: { kind: 'follow' } })
})
