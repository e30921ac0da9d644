// Goal: a promotion takes exactly the timeline that was asked for, and followers come along.
// Method: two or three real servers; histories are read from their disks, rows through SQL.
import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readPgControl } from '../../pgctld/postgres/pg-control.ts'
import { parseTimelineHistory } from '../../shared/replication/timeline-history.ts'
import { failureOf } from '../support/failure.ts'
import { until } from '../support/until.ts'
import { KINDS, Member, cleanUp } from './managed.ts'

setDefaultTimeout(60_000)
afterAll(cleanUp)

const PROMOTE_MS = 10_000
const history = (member: Member, timeline: number) =>
  join(member.dataDir, 'pg_wal', `${timeline.toString(16).toUpperCase().padStart(8, '0')}.history`)
const rows = async (member: Member) => (await member.sql('select count(*) from t'))[0]?.[0]

async function follower(leader: Member, id: string, how = ''): Promise<Member> {
  const { installation } = leader.postgres.options
  const member = await Member.create('embedded', { id, installation })
  const { primary_conninfo } = member.following(leader)
  const settings = { primary_conninfo: `${primary_conninfo}${how}` }
  await member.clone({ port: leader.postgres.options.port }, settings)
  await member.start()
  return member
}

describe.each(KINDS)('%s Postgres', (kind) => {
  test('the timeline is the one asked for, however far above, and history is kept', async () => {
    await using member = await Member.initialised(kind)
    await member.start()
    await member.postgres.promote(12, PROMOTE_MS)
    expect(member.status).toMatchObject({ timeline: 12, inRecovery: false, accepting: true })
    await member.sql('insert into t values (1)')
    expect(readFileSync(history(member, 12), 'utf8')).toMatch(/^1\t/)
    for (let reserved = 2; reserved < 12; reserved++) {
      expect(readFileSync(history(member, reserved), 'utf8')).toContain('reserved')
    }
    await member.postgres.promote(12, PROMOTE_MS) // asked again: done already
    expect(await failureOf(member.postgres.promote(13, PROMOTE_MS))).toMatchObject({
      condition: 'object_not_in_prerequisite_state',
      message: expect.stringContaining('is a primary on timeline 12, not on 13'),
    })
    await member.stop()
    await member.start()
    expect(member.status).toMatchObject({ timeline: 12, inRecovery: true })
    expect(await failureOf(member.postgres.promote(12, PROMOTE_MS))).toMatchObject({
      message: expect.stringContaining('is on timeline 12 already'),
    })
    await member.postgres.promote(14, PROMOTE_MS)
    expect(await rows(member)).toBe('1')
  })

  test('followers come along over two promotions, also one that was away', async () => {
    await using first = await Member.initialised(kind, { id: 'zone1_pooler1' })
    await first.start()
    await first.postgres.promote(2, PROMOTE_MS)
    await using second = await follower(first, 'zone1_pooler2')
    await using third = await follower(first, 'zone1_pooler3')
    await first.sql('insert into t values (1)')
    await until(async () => (await rows(second)) === '1' && (await rows(third)) === '1')

    await first.stop()
    await second.postgres.promote(5, PROMOTE_MS)
    await third.postgres.reload(third.following(second))
    await second.sql('insert into t values (2)')
    await until(async () => (await rows(third)) === '2')
    expect(third.status).toMatchObject({ timeline: 5, inRecovery: true })

    await second.stop()
    await third.postgres.promote(9, PROMOTE_MS)
    await third.sql('insert into t values (3)')
    await first.start(first.following(third))
    await second.start(second.following(third))
    await until(async () => (await rows(first)) === '3' && (await rows(second)) === '3')
    expect([first, second, third].map((member) => member.status.timeline)).toEqual([9, 9, 9])
    // The reserved numbers are in nobody's history.
    const ancestors = parseTimelineHistory(readFileSync(history(third, 9), 'utf8'))
    expect(ancestors.map((ancestor) => ancestor.timeline)).toEqual([1, 2, 5])
  })
})

test('a timeline that somebody else has taken is refused', async () => {
  await using member = await Member.initialised()
  await member.start()
  writeFileSync(history(member, 4), '1\t0/1000000\tno recovery target specified\n')
  expect(await failureOf(member.postgres.promote(4, PROMOTE_MS))).toMatchObject({
    message: expect.stringContaining('knows a timeline 4'),
  })
  expect(await failureOf(member.postgres.promote(3, PROMOTE_MS))).toMatchObject({
    sqlstate: '55000',
  })
  expect(member.status.inRecovery).toBe(true)
})

test('reservations that led to no promotion are gone with the next start', async () => {
  await using member = await Member.initialised()
  await member.start()
  await member.postgres.promote(3, PROMOTE_MS)
  await member.stop()
  const unused = readFileSync(history(member, 2), 'utf8')
  for (const timeline of [4, 5, 6]) writeFileSync(history(member, timeline), unused)
  writeFileSync(join(member.dataDir, 'promote'), '')
  await member.start()
  expect([4, 5, 6].filter((timeline) => existsSync(history(member, timeline)))).toEqual([])
  expect(existsSync(history(member, 2))).toBe(true)
  expect(member.status.inRecovery).toBe(true)
})

test('a stopped server is not promoted', async () => {
  await using member = await Member.initialised()
  expect(await failureOf(member.postgres.promote(2, PROMOTE_MS))).toMatchObject({
    message: expect.stringContaining('does not run'),
  })
})

test('a frozen follower does not hold up a fast stop of its leader', async () => {
  await using leader = await Member.initialised()
  await leader.start()
  await leader.postgres.promote(2, PROMOTE_MS)
  // Its walsender would end by itself soon, otherwise.
  const patient = " options='-c wal_sender_timeout=10min'"
  await using behind = await follower(leader, 'zone1_pooler2', patient)
  await until(async () => (await leader.sql('select 1 from pg_stat_replication')).length === 1)
  for (const { pid } of behind.processes) process.kill(pid, 'SIGSTOP')
  await leader.sql('insert into t select generate_series(1, 1000)')
  const begun = performance.now()
  await leader.stop()
  expect(performance.now() - begun).toBeLessThan(7000) // it takes one; nine if nobody cuts it off
  expect(readPgControl(leader.dataDir).state).toBe('shut down')
})
