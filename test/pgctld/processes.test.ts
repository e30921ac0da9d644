// Goal: pgctld knows which processes are Postgres's and which are not, whatever dies or freezes.
// Method: real processes killed, stopped and impersonated; the others must come through unharmed.
import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { viewProcess } from '../../pgctld/postgres/process.ts'
import { failureOf } from '../support/failure.ts'
import { startPostgres } from '../support/postgres.ts'
import { until } from '../support/until.ts'
import { KINDS, Member, cleanUp } from './managed.ts'

setDefaultTimeout(30_000)
afterAll(cleanUp)

describe.each(KINDS)('%s Postgres', (kind) => {
  test('a killed postmaster is noticed at once, with how it ended', async () => {
    await using member = await Member.initialised(kind)
    await member.start()
    const { pid } = member.status
    const told = Promise.withResolvers<void>()
    using _ = member.postgres.onChange(() => {
      if (member.status.state === 'STOPPED') told.resolve()
    })
    process.kill(pid, 'SIGKILL')
    await told.promise
    expect(member.status).toMatchObject({ state: 'STOPPED', pid: 0, accepting: false })
    expect(member.status.message).toContain(`process ${pid}`)
    expect(member.status.message).toContain('killed by SIGKILL')
    await member.start()
    expect(member.status.state).toBe('RUNNING')
  })

  test('a Postgres that cannot start says why', async () => {
    const settings = { shared_buffers: '16MB', max_connections: 'lots' }
    await using member = await Member.initialised(kind, { settings })
    expect(await failureOf(member.start())).toMatchObject({
      condition: 'internal_error',
      message: expect.stringContaining('max_connections'),
    })
    expect(member.status.state).toBe('STOPPED')
    expect(member.status.message).toContain('exited with code 1')
  })

  test('a stopped (T) Postgres is FROZEN, and a stop still ends it', async () => {
    await using member = await Member.initialised(kind)
    await member.start()
    process.kill(member.status.pid, 'SIGSTOP')
    await until(() => member.status.state === 'FROZEN')
    expect(member.status).toMatchObject({ accepting: false })
    await member.stop()
    expect(member.status.state).toBe('STOPPED')
    expect(member.processes).toEqual([])
  })

  test('a backend that outlives its postmaster is killed before the next start', async () => {
    await using member = await Member.initialised(kind)
    await member.start()
    const { pid } = member.status
    const children = member.processes.filter((process) => process.pid !== pid)
    const orphan = children[0]
    if (orphan === undefined) throw new Error('Postgres has no children')
    process.kill(orphan.pid, 'SIGSTOP')
    process.kill(pid, 'SIGKILL')
    await until(() => member.status.state === 'STOPPED')
    expect(viewProcess(orphan.pid)?.startTicks).toBe(orphan.startTicks)
    await member.start()
    expect(viewProcess(orphan.pid)).toBeUndefined()
    expect(member.status.state).toBe('RUNNING')
  })

  test('a successor adopts a running Postgres, notices its end, and can stop it', async () => {
    await using member = await Member.initialised(kind)
    await member.start()
    const { pid, postmasterStartTime } = member.status
    member.succeed()
    await member.postgres.adopt()
    expect(member.status).toMatchObject({ state: 'RUNNING', pid, postmasterStartTime })
    process.kill(pid, 'SIGKILL')
    await until(() => member.status.state === 'STOPPED', 1000)
    await member.start()
    member.succeed()
    await member.stop()
    expect(member.status.state).toBe('STOPPED')
    expect(member.processes).toEqual([])
  })
})

test('a postmaster.pid that names another program harms nobody and blocks nothing', async () => {
  await using member = await Member.initialised()
  const innocent = Bun.spawn(['sleep', '60'])
  const pidFile = join(member.dataDir, 'postmaster.pid')
  const lines = [innocent.pid, member.dataDir, 1, 5432, '/tmp', 'localhost', '1 1', 'ready   ']
  writeFileSync(pidFile, `${lines.join('\n')}\n`)
  expect(member.status.state).toBe('STOPPED')
  await member.stop()
  await member.start()
  expect(member.status).toMatchObject({ state: 'RUNNING' })
  expect(member.status.pid).not.toBe(innocent.pid)
  await member.stop()
  expect(innocent.exitCode).toBeNull()
  innocent.kill()
})

test("a postmaster.pid that names another directory's Postgres harms nobody", async () => {
  await using other = await startPostgres()
  await using member = await Member.initialised()
  const copied = readFileSync(join(other.dataDir, 'postmaster.pid'))
  writeFileSync(join(member.dataDir, 'postmaster.pid'), copied)
  expect(member.status).toMatchObject({ state: 'STOPPED', pid: 0 })
  await member.start()
  process.kill(member.status.pid, 'SIGSTOP')
  await member.stop()
  expect(await other.query('select 1')).toHaveLength(1)
})

test("a dead Postgres's socket lock does not block the start", async () => {
  await using member = await Member.initialised()
  await member.start()
  const innocent = Bun.spawn(['sleep', '60'])
  const { socketDir, port } = member.postgres.options
  await member.stop()
  const lock = join(socketDir, `.s.PGSQL.${port}.lock`)
  writeFileSync(lock, `${innocent.pid}\n${member.dataDir}\n1\n${port}\n`)
  await member.start()
  expect(member.status.state).toBe('RUNNING')
  expect(innocent.exitCode).toBeNull()
  innocent.kill()
})

test('a fast stop that a stopped backend holds up becomes immediate, and ends', async () => {
  await using member = await Member.initialised()
  await member.start()
  const { pid } = member.status
  const child = member.processes.find((process) => process.pid !== pid)
  if (child === undefined) throw new Error('Postgres has no children')
  process.kill(child.pid, 'SIGSTOP')
  await member.postgres.stop({ mode: 'fast', timeoutMs: 200 })
  expect(member.status.state).toBe('STOPPED')
  expect(member.processes).toEqual([])
})

test('a stop ends a start that is under way', async () => {
  await using member = await Member.initialised()
  await member.start()
  process.kill(member.status.pid, 'SIGKILL')
  await until(() => member.status.state === 'STOPPED')
  const starting = member.start().catch((error: Error) => error)
  await until(() => member.status.pid !== 0)
  await member.stop()
  const outcome = await starting
  if (outcome !== undefined) expect(outcome).toMatchObject({ condition: 'query_canceled' })
  expect(member.status.state).toBe('STOPPED')
})

test('a standalone backend in the directory blocks the start, and is left alone', async () => {
  await using member = await Member.initialised()
  const { installation, runAs } = member.postgres.options
  const single = Bun.spawn(
    [join(installation.binDir, 'postgres'), '--single', '-D', member.dataDir, 'postgres'],
    { stdin: 'pipe', stdout: 'ignore', stderr: 'ignore', ...(runAs.drop ? runAs : {}) },
  )
  await until(() => member.status.state === 'UNUSABLE')
  expect(member.status.message).toContain(`standalone backend (process ${single.pid})`)
  expect(await failureOf(member.start())).toMatchObject({
    message: expect.stringContaining('standalone backend'),
  })
  await member.stop()
  expect(single.exitCode).toBeNull()
  await single.stdin.end()
  await single.exited
  rmSync(join(member.dataDir, 'postmaster.pid'), { force: true })
  await member.start()
  expect(member.status.state).toBe('RUNNING')
})

test('Status is a lookup: well under a millisecond, also while Postgres runs', async () => {
  await using member = await Member.initialised()
  await member.start()
  const ROUNDS = 200
  const before = process.cpuUsage()
  for (let round = 0; round < ROUNDS; round++) member.postgres.status()
  const { user, system } = process.cpuUsage(before)
  expect((user + system) / 1000 / ROUNDS).toBeLessThan(2) // 0.1 ms on an idle machine
})

test('a reload right after a start reaches Postgres and does not end it', async () => {
  await using member = await Member.initialised()
  const starting = member.postgres.start({ work_mem: '12MB' }, 10_000)
  await member.postgres.reload({ work_mem: '13MB' }) // a SIGHUP at once would be its end
  await starting
  await until(async () => (await member.sql('show work_mem'))[0]?.[0] === '13MB')
})

test('a start that waits for WAL does not hold up the reload that names the leader', async () => {
  await using member = await Member.initialised()
  await member.start({ work_mem: '1MB' })
  await member.postgres.promote(2, 10_000)
  await using copy = await Member.create('embedded', { id: 'zone1_pooler2' })
  await copy.clone({ port: member.postgres.options.port })
  // Without the last of its WAL a copy is not consistent and lets nobody in.
  const wal = readdirSync(join(copy.dataDir, 'pg_wal')).filter((name) => /^\w{24}$/.test(name))
  for (const name of wal) rmSync(join(copy.dataDir, 'pg_wal', name))
  const starting = copy.postgres.start({}, 20_000)
  await until(() => copy.status.state === 'STARTING')
  await copy.postgres.reload(copy.following(member))
  await starting
  expect(copy.status).toMatchObject({ state: 'RUNNING', inRecovery: true })
})
