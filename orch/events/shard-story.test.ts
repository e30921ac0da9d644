// Goal: what happened is told once and in words; what mends itself at once is no news.
import { expect, test } from 'bun:test'
import { rule } from '../../shared/consensus/fixtures.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { member, shard, TRIO } from '../analyze/fixtures.ts'
import { notice, type Problem } from '../analyze/problem.ts'
import { FlapGuard } from '../flap-guard.ts'
import { EventJournal } from './journal.ts'
import { ShardStory } from './shard-story.ts'

const [FIRST, SECOND, THIRD] = TRIO

/** A story, and what it has told since the last look. */
function story() {
  const journal = new EventJournal({ orchId: 'zone1_orch1', stateDir: undefined, log: nullLogger })
  const guard = new FlapGuard()
  const place = { database: 'postgres', shard: '0-inf' }
  const told = new ShardStory({ journal, guard, ...place })
  let seen = journal.kept.length
  const look = (
    leader: string,
    decided: string,
    problems: readonly Problem[] = [],
    ageMs = 100,
  ): string[] => {
    const ids = [leader, ...TRIO.filter((id) => id !== leader)]
    const decision = { ...rule(decided, ids), leaderId: leader }
    const members = TRIO.map((id) => {
      if (id !== leader) return member(id, { decision, follows: leader })
      const known = member(id, {
        decision,
        state: 'primary',
        serving: problems.length === 0,
        ageMs,
      })
      const { status } = known
      const serving = status?.serving && { ...status.serving, role: 'leader' }
      return { ...known, status: status && { ...status, serving } }
    })
    told.observe(shard(members), problems)
    const news = journal.kept.slice(seen).map(({ text }) => text)
    seen = journal.kept.length
    return news
  }
  return look
}

test('a leader is told when it begins to serve, not when it changes its own rule', () => {
  const look = story()
  expect(look(FIRST, '1.0')).toEqual([`${FIRST} serves as leader by rule 1.0`])
  expect(look(FIRST, '1.0')).toEqual([])
  expect(look(FIRST, '1.1')).toEqual([])
})

test('another leader is told with the one before it, and for how long there was none', () => {
  const look = story()
  look(FIRST, '1.1')
  const gone = look(FIRST, '1.1', [notice('NO_LEADER', `the Postgres of ${FIRST} does not run`)])
  expect(gone).toEqual([`NO_LEADER: the Postgres of ${FIRST} does not run`])
  const [serves, streams, over, ...more] = look(SECOND, '2.0')
  expect(serves).toMatch(
    new RegExp(
      `^${SECOND} serves as leader by rule 2.0 in place of ${FIRST}; nobody did for \\d+ ms$`,
    ),
  )
  expect(streams).toBe(`${THIRD} streams from ${SECOND}`)
  expect(over).toMatch(/^NO_LEADER is over, after \d+ ms$/)
  expect(more).toEqual([])
})

test('what is noted a moment later, and a member’s trouble of a moment, are no news', () => {
  const look = story()
  look(FIRST, '1.0')
  const problems = [
    notice('CLAIM_NOT_DECIDED', 'the claim is not decided yet'),
    notice('MEMBER_NOT_RUNNING', `${THIRD}: starts`, THIRD),
  ]
  expect(look(FIRST, '1.0', problems)).toEqual([])
  expect(look(FIRST, '1.0')).toEqual([])
})

test('who is not heard any more has not served since its last word', () => {
  const look = story()
  look(FIRST, '1.0')
  look(FIRST, '1.0', [notice('NO_LEADER', `nobody hears of ${FIRST}`)], 1500)
  const [serves = ''] = look(SECOND, '2.0')
  const ms = Number(/nobody did for (\d+) ms/.exec(serves)?.[1])
  expect(ms).toBeGreaterThanOrEqual(1500)
})
