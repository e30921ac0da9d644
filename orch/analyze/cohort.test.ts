import { describe, expect, test } from 'bun:test'
import { revocation, rule } from '../../shared/consensus/fixtures.ts'
import { analyze, measured } from './analyze.ts'
import { ABANDONED_MS } from './cohort.ts'
import { type Looks, member, PATIENCE, shard, TRIO, trio } from './fixtures.ts'
import type { Problem } from './problem.ts'
import type { ShardSnapshot } from './snapshot.ts'

const [LEADER, SECOND, THIRD] = TRIO
const NEW = 'zone1_p4'

/** What is found when every condition of the snapshot has held for so long. */
function found(snapshot: ShardSnapshot, heldMs = 0): Problem[] {
  const timers = new Map(measured(snapshot).map((name) => [name, heldMs]))
  return analyze(snapshot, timers, PATIENCE)
}
const changes = (problems: readonly Problem[]) =>
  problems.flatMap(({ action }) => (action?.kind === 'change rule' ? [action.change] : []))

const withNew = (looks: Looks): ShardSnapshot => shard([...trio(), member(NEW, looks)])

describe('a member that is not in the cohort', () => {
  test('is let in once it streams', () => {
    expect(changes(found(withNew({ follows: LEADER })))).toEqual([
      { add: { id: NEW, incarnation: `i-${NEW}` } },
    ])
  })

  test.each([
    ['that follows somebody else', { follows: SECOND }],
    ['whose receiver does not stream', { follows: LEADER, receiver: '' }],
    ['that may not be recruited yet', { follows: LEADER, blocked: 'below its floor' }],
    ['that has diverged', { follows: LEADER, diverged: 'past the fork' }],
    ['that is busy', { follows: LEADER, action: 'clone' }],
    ['without data', { state: 'empty' }],
    ['that is not heard', { follows: LEADER, ageMs: 60_000 }],
    ['without promises', { follows: LEADER, incarnation: '' }],
  ] as const)('%s waits', (_, looks) => {
    expect(changes(found(withNew(looks), 60_000))).toEqual([])
  })

  test('and far behind waits', () => {
    const [leader, ...others] = trio({ [LEADER]: { lsn: 1n << 30n } })
    const members = [leader, ...others, member(NEW, { follows: LEADER })]
    const snapshot = shard(members.filter((known) => known !== undefined))
    expect(changes(found(snapshot))).toEqual([])
  })

  test('is not let in again while an operator removes it', () => {
    const { members } = withNew({ follows: LEADER })
    expect(changes(found(shard(members, { leaving: [NEW] })))).toEqual([])
  })

  test('waits while another change is undecided, and is no reason to recruit', () => {
    const next = rule('1.1', [...TRIO, NEW])
    for (const who of [LEADER, SECOND]) {
      const members = [...trio({ [who]: { proposal: next } }), member(NEW, { follows: LEADER })]
      const problems = found(shard(members), 60_000)
      expect(problems.flatMap(({ action }) => action?.kind ?? [])).toEqual([])
    }
  })

  test('is no reason to recruit while the leader’s own word of it is older than a follower’s', () => {
    for (const next of [rule('1.1', [...TRIO, NEW]), rule('2.0', TRIO)]) {
      const looks = { [LEADER]: { proposal: next }, [SECOND]: { decision: next } }
      const snapshot = shard([...trio(looks), member(NEW, { follows: LEADER })])
      expect(found(snapshot, 60_000).flatMap(({ action }) => action?.kind ?? [])).toEqual([])
    }
  })

  test('under at_least_1 stays an observer', () => {
    const alone = rule('1.0', [LEADER], 'at_least_1')
    const looks = { decision: alone }
    const snapshot = shard(trio({ [LEADER]: looks, [SECOND]: looks, [THIRD]: looks }))
    expect(changes(found(snapshot))).toEqual([])
  })

  test('joins one at a time', () => {
    const members = [
      ...trio(),
      member(NEW, { follows: LEADER }),
      member('zone1_p5', { follows: LEADER }),
    ]
    expect(changes(found(shard(members)))).toHaveLength(1)
  })
})

describe('a member of the cohort', () => {
  test('under another incarnation takes its own seat anew', () => {
    const snapshot = shard(trio({ [SECOND]: { follows: LEADER, incarnation: 'new' } }))
    expect(changes(found(snapshot))).toEqual([{ add: { id: SECOND, incarnation: 'new' } }])
  })

  test('bound by a recruitment that came to nothing is set free by a newer rule', () => {
    const bound = { follows: LEADER, receiver: '', revocation: revocation(2n, '1.0') }
    const snapshot = shard(trio({ [SECOND]: bound }))
    expect(changes(found(snapshot, ABANDONED_MS - 1))).toEqual([])
    expect(changes(found(snapshot, ABANDONED_MS))).toEqual([{}])
  })

  test('that is lost keeps its seat', () => {
    const snapshot = shard(trio({ [SECOND]: { ageMs: 600_000, live: false } }))
    expect(changes(found(snapshot, 600_000))).toEqual([])
  })
})
