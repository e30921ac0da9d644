import { describe, expect, test } from 'bun:test'
import { revocation, rule } from '../../shared/consensus/fixtures.ts'
import { analyze, measured } from './analyze.ts'
import { claim, type Looks, member, PATIENCE, shard, TRIO, trio } from './fixtures.ts'
import { FOREIGN_ATTEMPT_MS } from './foreign-promise.ts'
import type { Problem } from './problem.ts'
import type { ShardSnapshot } from './snapshot.ts'

const [LEADER, SECOND, THIRD] = TRIO
const NEVER = new Map<string, number>()

/** What is found when every condition of the snapshot has held for so long. */
function found(snapshot: ShardSnapshot, heldMs = 0): Problem[] {
  const timers = new Map(measured(snapshot).map((name) => [name, heldMs]))
  return analyze(snapshot, timers, PATIENCE)
}
const codes = (problems: readonly Problem[]) => problems.map(({ code }) => code)
const kinds = (problems: readonly Problem[]) => problems.flatMap(({ action }) => action?.kind ?? [])

describe('a shard in good order', () => {
  test('has no problem', () => {
    expect(found(shard(trio()))).toEqual([])
  })

  test('and one whose claim is open gets it decided', () => {
    expect(kinds(found(shard(trio(), { claim: claim('claimed') })))).toEqual(['decide claim'])
  })
})

describe('nobody leads', () => {
  const standbys = (changes: Partial<Record<(typeof TRIO)[number], Looks>> = {}) =>
    shard(TRIO.map((id) => member(id, changes[id])))

  test('when all are standbys: everybody is recruited, and the old leader preferred', () => {
    expect(found(standbys())).toMatchObject([
      { code: 'NO_LEADER', action: { kind: 'appoint', preferred: LEADER, recruits: [...TRIO] } },
    ])
  })

  test('when the leader’s Postgres has stopped, by its own pooler’s word', () => {
    const snapshot = shard(trio({ [LEADER]: { state: 'stopped' } }))
    expect(kinds(found(snapshot, PATIENCE.resumeWaitMs))).toEqual(['appoint'])
  })

  test('when the leader’s Postgres stays frozen', () => {
    const snapshot = shard(trio({ [LEADER]: { state: 'frozen' } }))
    expect(kinds(found(snapshot, PATIENCE.leaderGoneMs - 1))).toEqual([])
    expect(kinds(found(snapshot, PATIENCE.leaderGoneMs))).toEqual(['appoint'])
  })

  test('and a member that may still come is waited for, a moment', () => {
    const snapshot = standbys({ [THIRD]: { state: 'stopped' } })
    expect(kinds(found(snapshot, PATIENCE.resumeWaitMs - 1))).toEqual([])
    expect(kinds(found(snapshot, PATIENCE.resumeWaitMs))).toEqual(['appoint'])
  })

  test('and a member that is neither heard nor alive is not waited for', () => {
    const snapshot = standbys({ [THIRD]: { ageMs: 60_000, live: false } })
    expect(kinds(found(snapshot))).toEqual(['appoint'])
  })

  test('and what was proposed by one that is gone, and known to nobody else, is gone with it', () => {
    const proposal = rule('2.0', [SECOND, LEADER, THIRD])
    const gone = { proposal, ageMs: 60_000, live: false }
    const [alone] = found(standbys({ [SECOND]: gone }))
    expect(alone?.action).toMatchObject({ kind: 'appoint', outgoing: { proposal: undefined } })
    const [dead] = found(standbys({ [SECOND]: { proposal, state: 'stopped' } }), 60_000)
    expect(dead?.action).toMatchObject({ kind: 'appoint', outgoing: { proposal: undefined } })
    const [known] = found(standbys({ [SECOND]: gone, [THIRD]: { proposal } }), 60_000)
    expect(known?.action).toMatchObject({ outgoing: { proposal: { leaderId: SECOND } } })
  })

  test('and nothing is done while those who answer do not suffice', () => {
    const snapshot = standbys({ [SECOND]: { ageMs: 60_000 }, [THIRD]: { ageMs: 60_000 } })
    expect(found(snapshot, 60_000)).toMatchObject([{ code: 'NO_LEADER', action: undefined }])
  })

  test.each([
    ['of another incarnation', { incarnation: 'new' }],
    ['that is blocked', { blocked: 'WAL floor' }],
  ])('and a member %s does not count', (_, looks) => {
    const snapshot = standbys({ [SECOND]: looks, [THIRD]: { ageMs: 60_000, live: false } })
    expect(kinds(found(snapshot, 60_000))).toEqual([])
  })

  test('and what another orchestrator has begun gets a moment to be finished', () => {
    const promised = { revocation: { ...revocation(2n, '1.0'), coordinatorId: 'zone1_orch2' } }
    const snapshot = standbys({ [SECOND]: promised })
    expect(kinds(found(snapshot, FOREIGN_ATTEMPT_MS - 1))).toEqual([])
    expect(kinds(found(snapshot, FOREIGN_ATTEMPT_MS))).toEqual(['appoint'])
    expect(kinds(found({ ...snapshot, self: 'zone1_orch2' }))).toEqual(['appoint'])
  })

  test('while the leader’s Postgres starts, as long as that takes: it will be a standby', () => {
    const snapshot = shard(trio({ [LEADER]: { state: 'stopped', action: 'start' } }))
    expect(kinds(found(snapshot, PATIENCE.resumeWaitMs))).toEqual(['appoint'])
  })

  test('after an appointment that stopped half-way: the next term finishes it', () => {
    const proposal = rule('2.0', TRIO)
    const snapshot = shard(trio({ [LEADER]: { state: 'primary', proposal } }))
    expect(kinds(found(snapshot, PATIENCE.resumeWaitMs))).toEqual(['appoint'])
  })

  test('when too many of its cohort promised not to help the leader', () => {
    const bound = { revocation: revocation(2n, '1.0') }
    expect(kinds(found(shard(trio({ [SECOND]: bound, [THIRD]: bound }))))).toEqual(['appoint'])
    expect(codes(found(shard(trio({ [SECOND]: bound }))))).toEqual(['MEMBER_BOUND_BY_PROMISE'])
  })

  test('when the leader came back as another incarnation', () => {
    const snapshot = shard(trio({ [LEADER]: { state: 'standby', incarnation: 'new' } }))
    expect(kinds(found(snapshot, PATIENCE.resumeWaitMs))).toEqual(['appoint'])
  })
})

describe('a leader that does not serve', () => {
  const idle = shard(trio({ [LEADER]: { serving: false }, [SECOND]: { follows: THIRD } }))

  test('is replaced when that lasts, and looked after until then', () => {
    expect(kinds(found(idle, 4000))).toEqual(['follow'])
    expect(kinds(found(idle, 4200))).toEqual(['appoint', 'follow'])
  })

  test('is not, as long as it is at something or nobody could take its place', () => {
    const busy = { [LEADER]: { serving: false, action: 'change the rule' } }
    expect(kinds(found(shard(trio(busy)), 60_000))).toEqual([])
    const alone = { [SECOND]: { ageMs: 9000 }, [THIRD]: { ageMs: 9000 } }
    expect(kinds(found(shard(trio({ [LEADER]: { serving: false }, ...alone })), 60_000))).toEqual(
      [],
    )
  })
})

describe('a leader is left alone', () => {
  test.each(['recruit', 'promote'])('while %s runs on it, and that is not long', (action) => {
    const snapshot = shard(trio({ [LEADER]: { state: 'standby', action } }))
    expect(found(snapshot, 60_000)).toMatchObject([
      { code: 'LEADER_NOT_SERVING', action: undefined },
    ])
  })

  test('longer while promote runs on it, when an appointment came to nothing before', () => {
    const promoting = { state: 'standby', action: 'promote', runningMs: 5000 } as const
    const first = shard(trio({ [LEADER]: promoting }))
    expect(kinds(found(first, 60_000))).toEqual(['appoint'])
    const promised = { revocation: revocation(3n, '1.0') }
    const second = shard(trio({ [LEADER]: promoting, [SECOND]: promised, [THIRD]: promised }))
    expect(found(second, 60_000)).toMatchObject([{ code: 'LEADER_NOT_SERVING', action: undefined }])
  })

  test('that is not heard, as long as it asks a member for grants', () => {
    const silent = { [LEADER]: { ageMs: 60_000, live: false } }
    const asked = { grants: LEADER, grantAgeMs: 300 }
    expect(kinds(found(shard(trio({ ...silent, [SECOND]: asked })), 60_000))).toEqual([])
    const long = { grants: LEADER, grantAgeMs: 900 }
    expect(kinds(found(shard(trio({ ...silent, [SECOND]: long })), 60_000))).toEqual(['appoint'])
    const another = { grants: THIRD, grantAgeMs: 300 }
    const other = shard(trio({ ...silent, [SECOND]: another }))
    expect(kinds(found(other, 60_000))).toEqual(['appoint'])
  })

  test('whose process is known to be gone, unless it may only be starting again', () => {
    const gone = (refusedMs: number): ShardSnapshot =>
      shard(trio({ [LEADER]: { ageMs: 300, refusedMs } }))
    expect(kinds(found(gone(400), 60_000))).toEqual([])
    expect(kinds(found(gone(600)))).toEqual(['appoint']) // and nothing more is waited for
  })

  test('is not alive by a key in the topology, nor by a stream of WAL', () => {
    const snapshot = shard(trio({ [LEADER]: { ageMs: 60_000, live: true } }))
    expect(kinds(found(snapshot, 60_000))).toEqual(['appoint'])
  })

  test('of whom nobody hears, until that has lasted', () => {
    const alone = { follows: LEADER, receiver: '' }
    const snapshot = shard(
      trio({ [LEADER]: { ageMs: 60_000, live: false }, [SECOND]: alone, [THIRD]: alone }),
    )
    expect(kinds(found(snapshot, PATIENCE.leaderGoneMs - 1))).toEqual([])
    expect(kinds(found(snapshot, PATIENCE.leaderGoneMs))).toEqual(['appoint'])
  })

  test('that is a primary and does not serve yet: the followers are pointed at it', () => {
    const snapshot = shard(trio({ [LEADER]: { serving: false }, [SECOND]: { follows: THIRD } }))
    expect(codes(found(snapshot))).toEqual(['LEADER_NOT_SERVING', 'MEMBER_NOT_FOLLOWING'])
  })
})

describe('a member under a leader', () => {
  const second = (looks: Looks): ShardSnapshot =>
    shard([trio()[0], member(SECOND, looks), trio()[2]].filter((known) => known !== undefined))

  test.each([
    ['that follows nobody', {}, 'follow'],
    ['that follows somebody else', { follows: THIRD }, 'follow'],
    ['that is a primary, too', { state: 'primary' }, 'follow'],
    ['without data', { state: 'empty' }, 'clone'],
    ['that has diverged', { diverged: 'past the fork' }, 'clone'],
  ] as const)('%s', (_, looks, action) => {
    expect(found(second(looks))).toMatchObject([{ member: SECOND, action: { kind: action } }])
  })

  test('is only replaced when it has diverged', () => {
    expect(found(second({ state: 'empty' }))).toMatchObject([{ action: { replace: false } }])
    expect(found(second({ diverged: 'past the fork' }))).toMatchObject([
      { action: { replace: true } },
    ])
  })

  test.each([
    ['that holds the data of another system', { systemIdentifier: '8' }, 'MEMBER_HAS_FOREIGN_DATA'],
    ['that lost its promises', { incarnation: '' }, 'MEMBER_LOST_ITS_PROMISES'],
    ['that is not heard', { ageMs: 60_000 }, 'MEMBER_UNREACHABLE'],
    ['whose Postgres starts', { state: 'stopped' }, 'MEMBER_NOT_RUNNING'],
  ] as const)('%s is left as it is, and told', (_, looks, code) => {
    expect(found(second(looks), 4000)).toMatchObject([{ code, action: undefined }])
  })

  test('that does not stream though it is pointed is pointed anew after a while', () => {
    const snapshot = second({ follows: LEADER, receiver: '' })
    expect(kinds(found(snapshot, 1000))).toEqual([])
    expect(kinds(found(snapshot, 3000))).toEqual(['follow'])
  })

  test('an action on it is waited out', () => {
    expect(found(second({ state: 'empty', action: 'clone' }))).toEqual([])
  })

  test('nobody is cloned from a leader that does not serve', () => {
    const changes = { [LEADER]: { serving: false }, [SECOND]: { diverged: 'past the fork' } }
    expect(kinds(found(shard(trio(changes))))).toEqual([])
  })

  test('diverged members are replaced one at a time', () => {
    const diverged = { diverged: 'past the fork' }
    const both = found(shard(trio({ [SECOND]: diverged, [THIRD]: diverged })))
    expect(codes(both)).toEqual(['MEMBER_DIVERGED', 'MEMBER_DIVERGED'])
    expect(kinds(both)).toEqual(['clone'])
    const cloning = { state: 'empty', action: 'clone' } as const
    expect(kinds(found(shard(trio({ [SECOND]: cloning, [THIRD]: diverged }))))).toEqual([])
  })
})

describe('a new shard', () => {
  const empty = (changes: Partial<Record<(typeof TRIO)[number], Looks>> = {}) =>
    TRIO.map((id) => member(id, { state: 'empty', ...changes[id] }))
  const initial = rule('0.1')
  const first: Looks = { state: 'standby', decision: initial }

  test('is claimed and initialised on the first of its members', () => {
    const snapshot = shard(empty(), { claim: undefined })
    expect(found(snapshot)).toMatchObject([
      {
        code: 'SHARD_NEEDS_INIT',
        action: { kind: 'initialize', first: LEADER, incarnations: { [THIRD]: `i-${THIRD}` } },
      },
    ])
  })

  test('is never begun beside data', () => {
    const snapshot = shard(empty({ [THIRD]: { state: 'stopped', decision: initial } }), {
      claim: undefined,
    })
    const holder = snapshot.members[2]?.status
    if (holder !== undefined) holder.position = undefined // its Postgres never ran
    expect(found(snapshot)).toMatchObject([{ code: 'MEMBER_HAS_FOREIGN_DATA', action: undefined }])
  })

  test.each([
    ['before the topology has told', { claimKnown: false }, empty()],
    ['with too few members for its policy', {}, empty().slice(0, 1)],
    [
      'while one that lives has not told whether it has data',
      {},
      empty({ [THIRD]: { ageMs: 9000 } }),
    ],
  ])('is not begun %s', (_, of, members) => {
    expect(kinds(found(shard(members, { claim: undefined, ...of })))).toEqual([])
  })

  test('has everybody cloned from the first node, two at a time', () => {
    const snapshot = shard(empty({ [LEADER]: first }), { claim: claim('claimed') })
    expect(found(snapshot).filter(({ action }) => action?.kind === 'clone')).toHaveLength(2)
  })

  test('gets its first rule when all stream, and not before it has settled', () => {
    const follower: Looks = { state: 'standby', decision: initial, follows: LEADER }
    const members = empty({ [LEADER]: first, [SECOND]: follower, [THIRD]: follower })
    const young = shard(members, { claim: claim('claimed'), settledMs: 100 })
    expect(kinds(found(young))).toEqual([])
    const settled = shard(members, { claim: claim('claimed'), settledMs: 2000 })
    expect(found(settled)).toMatchObject([
      { action: { kind: 'appoint', first: LEADER, recruits: [...TRIO] } },
    ])
  })

  test('whose first rule another orchestrator is at gets a moment more', () => {
    const promise = { ...revocation(1n, '0.1'), coordinatorId: 'zone1_orch2' }
    const follower: Looks = { state: 'standby', decision: initial, follows: LEADER }
    const bound: Looks = { ...follower, revocation: promise }
    const members = empty({ [LEADER]: first, [SECOND]: follower, [THIRD]: bound })
    const snapshot = shard(members, { claim: claim('claimed') })
    expect(kinds(found(snapshot, FOREIGN_ATTEMPT_MS - 1))).toEqual([])
    expect(kinds(found(snapshot, FOREIGN_ATTEMPT_MS))).toEqual(['appoint'])
  })

  test('begins without one that does not come, after a longer wait, if enough stream', () => {
    const follower: Looks = { state: 'standby', decision: initial, follows: LEADER }
    const members = empty({ [LEADER]: first, [SECOND]: follower, [THIRD]: { action: 'clone' } })
    const snapshot = shard(members, { claim: claim('claimed') })
    expect(kinds(found(snapshot, PATIENCE.bootstrapWaitMs - 1))).toEqual([])
    expect(found(snapshot, PATIENCE.bootstrapWaitMs)).toMatchObject([
      { action: { kind: 'appoint', recruits: [LEADER, SECOND] } },
    ])
  })

  test('under at_least_1 begins with the first node alone', () => {
    const snapshot = shard(
      empty({ [LEADER]: { ...first, decision: rule('0.1', [], 'at_least_1') } }),
      {
        claim: claim('claimed'),
        durability: 'at_least_1',
        settledMs: 0,
      },
    )
    const appointment = found(snapshot).find(({ action }) => action?.kind === 'appoint')
    expect(appointment).toMatchObject({ action: { recruits: [LEADER] } })
  })

  test('takes another first node only after a long silence of the one claimed', () => {
    const members = empty({ [LEADER]: { ageMs: 60_000 } })
    const snapshot = shard(members, { claim: claim('claimed') })
    expect(kinds(found(snapshot, 30_000))).toEqual([])
    expect(found(snapshot, 30_001)).toMatchObject([
      { action: { kind: 'initialize', first: SECOND, claim: { first: LEADER } } },
    ])
  })

  test('is never initialised again once its claim is decided', () => {
    expect(kinds(found(shard(empty()), 60_000))).toEqual([])
  })

  test('whose first appointment stopped half-way is led by the first node all the same', () => {
    const proposal = rule('1.0', TRIO)
    const half: Looks = { state: 'standby', decision: initial, proposal }
    const other: Looks = { state: 'standby', decision: initial }
    const members = [member(LEADER, half), member(SECOND, other), member(THIRD, other)]
    const snapshot = shard(members, { claim: claim('claimed') })
    expect(found(snapshot)).toMatchObject([{ action: { kind: 'appoint', first: LEADER } }])
  })
})

test('conditions that nobody waits for are not measured', () => {
  expect(measured(shard(trio()))).toEqual([])
  expect(analyze(shard(trio()), NEVER, PATIENCE)).toEqual([])
})
