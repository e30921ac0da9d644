import { describe, expect, test } from 'bun:test'
import { analyze, measured } from './analyze.ts'
import { FULL_MS } from './disks.ts'
import { type Looks, PATIENCE, shard, TRIO, trio } from './fixtures.ts'
import type { Problem } from './problem.ts'

const [LEADER, SECOND, THIRD] = TRIO
const NO_ROOM = 'the disk of its data is full: 0 bytes are left'
const LEADS = { serving: true, state: 'primary' } as const

/** What is said of full disks when they have been full for so long. */
function found(looks: Partial<Record<(typeof TRIO)[number], Looks>>, heldMs = FULL_MS): Problem[] {
  const snapshot = shard(trio({ ...looks, [LEADER]: { ...LEADS, ...looks[LEADER] } }))
  const timers = new Map(measured(snapshot).map((name) => [name, heldMs]))
  const problems = analyze(snapshot, timers, PATIENCE)
  return problems.filter(({ code }) => code === 'MEMBER_DISK_FULL')
}

describe('a disk that is full', () => {
  test('is no news before it lasts', () => {
    expect(found({ [SECOND]: { noRoom: NO_ROOM } }, FULL_MS - 1)).toEqual([])
  })

  test('of a follower is said, and waited for', () => {
    expect(found({ [SECOND]: { noRoom: NO_ROOM } })).toMatchObject([
      { member: SECOND, description: `${SECOND}: ${NO_ROOM}`, action: undefined },
    ])
  })

  test('of promises is no reason for anything, the leader’s neither', () => {
    expect(found({ [LEADER]: { stateNoRoom: 'full' } })).toMatchObject([
      { member: LEADER, action: undefined },
    ])
  })

  test('of the leader has it hand over, to one that streams and has room', () => {
    const looks = { [LEADER]: { noRoom: NO_ROOM }, [SECOND]: { noRoom: NO_ROOM } }
    expect(found(looks).find(({ member }) => member === LEADER)?.action).toEqual({
      kind: 'switchover',
      from: LEADER,
      member: THIRD,
      reason: `${LEADER}: ${NO_ROOM}`,
    })
  })

  test.each([
    ['is full, too', { noRoom: NO_ROOM }],
    ['may not lead', { blocked: 'below its floor' }],
    ['does not stream', { follows: LEADER, receiver: '' }],
    ['is another incarnation', { incarnation: 'new' }],
    ['is not heard of', { ageMs: 60_000 }],
  ])('of the leader is waited for where everybody else %s', (_, other) => {
    const looks = { [LEADER]: { noRoom: NO_ROOM }, [SECOND]: other, [THIRD]: other }
    expect(found(looks).find(({ member }) => member === LEADER)?.action).toBeUndefined()
  })
})
