// Goal: a clone is complete, verified and able to follow, or there is nothing.
// Method: clones of real servers, standbys and primaries, straight and through a proxy that cuts the
// line or changes a byte; after every failure the folder is looked at.
import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { failureOf } from '../support/failure.ts'
import type { PostgresKind } from '../support/postgres.ts'
import { until } from '../support/until.ts'
import { ALL_KINDS, Member, cleanUp } from './managed.ts'
import { tamperProxy } from './tamper-proxy.ts'

setDefaultTimeout(60_000)
afterAll(cleanUp)

const MANY_ROWS = 'insert into t select generate_series(1, 100000)'

async function leader(kind: PostgresKind = 'embedded'): Promise<Member> {
  const member = await Member.initialised(kind)
  await member.start()
  await member.postgres.promote(2, 10_000)
  return member
}

const portOf = (member: Member) => ({ port: member.postgres.options.port })

describe.each(ALL_KINDS)('PostgreSQL %p', (kind) => {
  test('an idle standby on timeline 1 can be cloned, and the clones follow it', async () => {
    await using first = await Member.initialised(kind)
    await first.start()
    await using second = await Member.create(kind, { id: 'zone1_pooler2' })
    const phases = await second.clone(portOf(first), second.following(first))
    expect(phases.at(-1)).toBe('done')
    expect(second.status).toMatchObject({ state: 'STOPPED', inRecovery: true, timeline: 1 })
    expect(second.status.systemIdentifier).toBe(first.status.systemIdentifier)
    expect(second.around).toEqual(['pgdata', 'pgdata.pgpass'])
    await second.start()
    const streaming = 'select application_name, state from pg_stat_replication'
    await until(async () => (await first.sql(streaming))[0]?.[1] === 'streaming')
    expect(await first.sql(streaming)).toEqual([['zone1_pooler2', 'streaming']])
    // The first appointment: both were standbys on timeline 1, one is promoted, the other follows.
    await first.postgres.promote(2, 10_000)
    await first.sql('insert into t values (1)')
    await until(async () => (await second.sql('select count(*) from t'))[0]?.[0] === '1')
  })
})

test('a clone of a primary under load has what was committed before it began', async () => {
  await using source = await leader()
  await source.sql(MANY_ROWS)
  const load = new AbortController()
  const loading = (async () => {
    while (!load.signal.aborted) await source.sql('insert into t values (0)')
  })()
  await using copy = await Member.create()
  const phases = await copy.clone(portOf(source), copy.following(source))
  load.abort()
  await loading
  expect(phases).toContain('streaming')
  await copy.start()
  const count = async (of: Member) => (await of.sql('select count(*), sum(a) from t'))[0]?.join()
  const wanted = await count(source)
  await until(async () => (await count(copy)) === wanted)
})

test("the copy follows nobody unless it is told to, and keeps the source's sync list", async () => {
  await using source = await leader()
  await source.postgres.reload({
    primary_conninfo: 'host=nowhere',
    synchronous_standby_names: 'ANY 1 ("b","c")',
  })
  await using copy = await Member.create()
  await copy.clone(portOf(source))
  const text = readFileSync(join(copy.dataDir, 'postgresql.auto.conf'), 'utf8')
  expect(text).not.toContain('primary_conninfo')
  expect(text).toContain('synchronous_standby_names')
})

test('a directory that is not empty is never cloned into', async () => {
  await using source = await leader()
  await using copy = await Member.create()
  mkdirSync(copy.dataDir)
  writeFileSync(join(copy.dataDir, 'letter.txt'), 'dear')
  expect(await failureOf(copy.clone(portOf(source)))).toMatchObject({ sqlstate: '55000' })
  expect(readdirSync(copy.dataDir)).toEqual(['letter.txt'])
  rmSync(join(copy.dataDir, 'letter.txt'))
  await copy.clone(portOf(source)) // empty is as good as absent
  expect(copy.status.state).toBe('STOPPED')
  expect(await failureOf(copy.clone(portOf(source)))).toMatchObject({ sqlstate: '55000' })
})

test('a clone may replace what pgctld made, in one step, and nothing else', async () => {
  await using source = await leader()
  await source.sql('insert into t values (1)')
  await using diverged = await Member.initialised()
  await diverged.start()
  const replacing = { ...portOf(source), replace: true }
  expect(await failureOf(diverged.clone(replacing))).toMatchObject({
    message: expect.stringContaining('cannot be replaced: process'),
  })
  await diverged.stop()
  const { systemIdentifier } = diverged.status
  using proxy = tamperProxy(source.postgres.options.port, { cutAfterBytes: 5_000_000 })
  expect((await failureOf(diverged.clone({ port: proxy.port, replace: true }))).message).toContain(
    'streaming',
  )
  expect(diverged.status).toMatchObject({ state: 'STOPPED', systemIdentifier, timeline: 1 })

  rmSync(join(diverged.dataDir, 'global/pg_control')) // damaged, but ours
  await diverged.clone(replacing, diverged.following(source))
  expect(diverged.status).toMatchObject({ state: 'STOPPED', timeline: 2 })
  expect(diverged.around.filter((name) => name.startsWith('pgdata'))).toEqual([
    'pgdata',
    'pgdata.pgpass',
  ])
  await diverged.start()
  await until(async () => (await diverged.sql('select a from t'))[0]?.[0] === '1')

  await using foreign = await Member.create()
  mkdirSync(foreign.dataDir)
  writeFileSync(join(foreign.dataDir, 'letter.txt'), 'dear')
  expect((await failureOf(foreign.clone(replacing))).message).toContain('letter.txt')
  expect(readdirSync(foreign.dataDir)).toEqual(['letter.txt'])
})

test('a line that is cut while it streams leaves nothing, and the error names both ends', async () => {
  await using source = await leader()
  using proxy = tamperProxy(source.postgres.options.port, { cutAfterBytes: 5_000_000 })
  await using copy = await Member.create()
  expect(await failureOf(copy.clone(proxy))).toMatchObject({
    condition: 'connection_failure',
    message: expect.stringContaining(
      `clone of 127.0.0.1:${proxy.port} into ${copy.dataDir} failed while streaming`,
    ),
  })
  expect(copy.around).toEqual([])
  expect(copy.status.state).toBe('NOT_INITIALIZED')
})

test('one changed byte is found', async () => {
  await using source = await leader()
  await using copy = await Member.create()
  using proxy = tamperProxy(source.postgres.options.port, { flipAtByte: 6_000_001 })
  expect(await failureOf(copy.clone(proxy))).toMatchObject({
    condition: 'data_corrupted',
    message: expect.stringContaining('has another checksum'),
  })
  expect(copy.around).toEqual([])
})

test('a canceled clone leaves nothing, and the next one succeeds', async () => {
  await using source = await leader()
  await source.sql(MANY_ROWS)
  await using copy = await Member.create()
  const cancel = new AbortController()
  using proxy = tamperProxy(source.postgres.options.port, {})
  const cloning = copy
    .clone({ ...proxy, port: proxy.port, signal: cancel.signal })
    .catch((error: Error) => error)
  await until(() => proxy.passedBytes > 1_000_000)
  cancel.abort()
  expect(await cloning).toBeInstanceOf(Error)
  expect(copy.around).toEqual([])
  await copy.clone(portOf(source))
  expect(copy.status.state).toBe('STOPPED')
})

test('a wrong password, a wrong version and nobody there are told apart', async () => {
  await using source = await leader()
  const wrong = { replicationPassword: () => 'wrong' }
  await using stranger = await Member.create('embedded', wrong)
  expect(await failureOf(stranger.clone(portOf(source)))).toMatchObject({
    message: expect.stringContaining('password authentication failed'),
  })
  const major = ALL_KINDS.includes(16) ? 16 : 'system'
  await using other = await Member.create(major)
  expect(await failureOf(other.clone(portOf(source)))).toMatchObject({
    message: expect.stringContaining('the source is PostgreSQL 18, this is 1'),
  })
  await using copy = await Member.create()
  expect(await failureOf(copy.clone({ port: 1 }))).toMatchObject({
    condition: 'connection_failure',
    message: expect.stringContaining('while connecting'),
  })
  expect([stranger, other, copy].map((member) => member.around)).toEqual([[], [], []])
})

test.skipIf(userInfo().uid !== 0)('a full disk leaves nothing, and the error says so', async () => {
  await using source = await leader()
  const mount = mkdtempSync(join(tmpdir(), 'mg-full-'))
  const mounted = Bun.spawnSync(['mount', '-t', 'tmpfs', '-o', 'size=12m,mode=0755', 'none', mount])
  if (mounted.exitCode !== 0) return console.warn('cannot mount a tmpfs here')
  try {
    const copy = await Member.create('embedded', { dataDir: mount })
    expect(await failureOf(copy.clone(portOf(source)))).toMatchObject({
      condition: 'disk_full',
      message: expect.stringContaining(copy.dataDir),
    })
    expect(readdirSync(mount)).toEqual([])
  } finally {
    Bun.spawnSync(['umount', mount])
    rmSync(mount, { recursive: true })
  }
})
