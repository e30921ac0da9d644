// Goal: a floor is lifted where what it stands for was regained, or never given up; never from a
// copy, from data that were rewound, or by what a Postgres said before it fell silent.
import { describe, expect, test } from 'bun:test'
import { number, position, rule } from '../../shared/consensus/fixtures.ts'
import type { Seen } from './member.ts'
import type { WalFloor } from './promise-state.ts'
import { higher, isRegained, oldDataOf } from './wal-floor.ts'

const IDS = ['zone1_p1', 'zone1_p2', 'zone1_p3']

/** A standby, as far as floors look at it. */
function seen(of: { decided?: string; lsn?: bigint; timeline?: number; sqlError?: string }): Seen {
  const { decided = '1.0', lsn = 50n, timeline = 2, sqlError = '' } = of
  const at = { ...position(rule(decided, IDS)), lsn }
  const look = {
    pgctldError: '',
    sqlError,
    standing: { position: at, inRecovery: true },
    view: { timeline, replayedLsn: lsn },
  }
  return look as unknown as Seen
}

const OVER = { copyTimeline: 3, lsn: 50n }
const FLOOR: WalFloor = { rule: number('2.0'), lsn: 100n, over: OVER }

describe('a floor', () => {
  test.each([
    ['of data that were never given up', seen({}), FLOOR, true],
    ['of data of which a part is gone', seen({ lsn: 40n }), FLOOR, false],
    ['of a copy', seen({ timeline: 3 }), FLOOR, false],
    ['of data that were rewound', seen({}), { ...FLOOR, over: undefined }, false],
    ['of one that is silent now', seen({ sqlError: 'slow' }), FLOOR, false],
    ['that was regained', seen({ decided: '2.0', lsn: 100n, timeline: 3 }), FLOOR, true],
    ['that was not', seen({ decided: '2.0', lsn: 99n, timeline: 3 }), FLOOR, false],
    ['of an older decision', seen({ decided: '3.0', lsn: 1n, timeline: 4 }), FLOOR, true],
  ])('%s', (_, look, floor, regained) => {
    expect(isRegained(floor, look)).toBe(regained)
  })

  test('is over data that lack nothing and are older than the copy', () => {
    expect(oldDataOf(seen({}), undefined, 3)).toEqual(OVER)
    expect(oldDataOf(seen({}), undefined, 2)).toBeUndefined()
    expect(oldDataOf(seen({ timeline: 3 }), FLOOR, 4)).toBeUndefined()
    expect(oldDataOf(seen({}), FLOOR, 4)).toEqual({ ...OVER, copyTimeline: 4 })
  })

  test('is not lowered, and stands over the data of the last order', () => {
    const older = { rule: number('1.0'), lsn: 900n, over: undefined }
    expect(higher(FLOOR, older)).toEqual({ ...FLOOR, over: undefined })
    expect(higher(older, FLOOR)).toEqual(FLOOR)
    expect(higher(undefined, FLOOR)).toEqual(FLOOR)
  })
})
