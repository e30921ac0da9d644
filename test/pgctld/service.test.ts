// Goal: pgctld as a process: its command line, its gRPC, and what is left when it dies in any way.
// Method: real processes, as root (which drops it) and as a plain user; what runs is counted in /proc.
import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { chmodSync, existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PgctldClient, StopMode } from '../../proto/gen/pgctld.ts'
import { callStream, callUnary, rpcClient } from '../../shared/rpc/client.ts'
import { failureOf } from '../support/failure.ts'
import { systemPostgres } from '../support/debian.ts'
import { until } from '../support/until.ts'
import { outcomeOf, Site, USERS } from './site.ts'

setDefaultTimeout(60_000)

const CALL = { timeoutMs: 30_000 }
const clientOf = (site: Site, token: string | undefined = site.token) =>
  rpcClient(PgctldClient, `127.0.0.1:${site.grpcPort}`, { token })

describe.each(USERS)('run by %s', (user) => {
  test('the command line takes a directory through its whole life', async () => {
    await using site = await Site.create({ user })
    expect(await site.status()).toMatchObject({ state: 'NOT_INITIALIZED', pid: null })
    expect(existsSync(site.dataDir)).toBe(false)
    expect(await site.command('init')).toMatchObject({ code: 0, stderr: '' })
    expect(await site.command('init')).toMatchObject({
      code: 1,
      stderr: `pgctld: ${site.dataDir} is initialised already: it is left as it is\n`,
    })
    expect(await site.command('start')).toMatchObject({ code: 0, stderr: '' })
    const running = await site.status()
    expect(running).toMatchObject({ state: 'RUNNING', accepting: true, in_recovery: true })
    expect(site.processes).toContain(Number(running['pid']))
    expect((await site.command('start')).code).toBe(0)
    expect(await site.status()).toMatchObject({ pid: running['pid'] })
    expect((await site.command('reload')).code).toBe(0)
    expect((await site.command('restart', '--mode=immediate')).code).toBe(0)
    expect(await site.command('stop')).toMatchObject({ code: 0, stderr: '' })
    expect(await site.status()).toMatchObject({ state: 'STOPPED', pid: null })
    expect(site.processes).toEqual([])
  })

  test('killed, pgctld leaves Postgres running; its successor adopts and stops it', async () => {
    await using site = await Site.create({ user })
    expect((await site.command('init')).code).toBe(0)
    const first = site.service()
    await site.ready()
    expect((await site.command('start')).code).toBe(0)
    const { pid } = await site.status()
    first.kill('SIGKILL')
    await first.exited
    expect(site.processes).toContain(Number(pid))
    expect(await site.status()).toMatchObject({ state: 'RUNNING', pid })

    const second = site.service()
    await site.ready()
    expect(await site.status()).toMatchObject({ state: 'RUNNING', pid })
    second.kill('SIGTERM')
    expect(await second.exited).toBe(0)
    expect(site.processes).toEqual([])
    expect(site.log).toContain('received fast shutdown request')
  })

  test('the end of its stdin stops pgctld, and Postgres with it', async () => {
    await using site = await Site.create({ user })
    expect((await site.command('init')).code).toBe(0)
    const service = site.service()
    await site.ready()
    expect((await site.command('start')).code).toBe(0)
    expect(site.processes.length).toBeGreaterThan(1)
    await service.stdin.end()
    expect(await service.exited).toBe(0)
    expect(site.processes).toEqual([])
  })
})

test('while a service holds the directory, a command acts through its gRPC', async () => {
  await using site = await Site.create()
  const service = site.service()
  await site.ready() // without a data directory: an agent that repairs must be reachable
  expect(await site.status()).toMatchObject({ state: 'NOT_INITIALIZED' })
  expect(await site.command('init')).toMatchObject({ code: 0 })
  expect(await site.command('start')).toMatchObject({ code: 0 })
  const { pid } = await site.status()
  const parent = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${String(pid)}/status`, 'utf8'))?.[1]
  expect(Number(parent)).toBe(service.pid)
  const version = JSON.parse((await site.command('version', '--json')).stdout) as object
  expect(version).toMatchObject({ version: expect.stringMatching(/^\d+\.\d+/) })
  expect(await site.command('stop')).toMatchObject({ code: 0 })
  expect(await site.status()).toMatchObject({ state: 'STOPPED' })
})

test('gRPC does all that the pooler needs, and asks for the token', async () => {
  await using site = await Site.create()
  await using copy = await Site.create()
  site.service()
  copy.service()
  await site.ready()
  await copy.ready()
  const client = clientOf(site)
  const other = clientOf(copy)
  const stranger = clientOf(site, 'wrong')
  expect(await failureOf(callUnary(stranger, 'status', {}, CALL))).toMatchObject({ code: 16 })

  const failing = callUnary(client, 'init', { sql: ['select 1/0'] }, CALL)
  expect(await failureOf(failing)).toMatchObject({ message: expect.stringContaining('division') })
  const role = "create role multigres_replication login replication password 'two'"
  const made = await callUnary(client, 'init', { sql: [role] }, CALL)
  expect(made).toMatchObject({ state: 'STOPPED', timeline: 1 })
  const settings = { synchronous_standby_names: 'ANY 1 ("x")' }
  const started = await callUnary(client, 'start', { settings, timeoutMs: 0 }, CALL)
  expect(started).toMatchObject({ state: 'RUNNING', inRecovery: true })
  expect(started.postmasterStartTime).toBeGreaterThan(0n)

  const source = { host: '127.0.0.1', port: site.postgresPort, applicationName: 'copying' }
  const request = { ...source, settings: {}, replace: false }
  const phases: string[] = []
  for await (const progress of callStream(other, 'clone', request)) {
    if (progress.phase !== phases.at(-1)) phases.push(progress.phase)
    if (progress.phase === 'done') expect(progress.status?.state).toBe('STOPPED')
  }
  expect(phases.at(-1)).toBe('done')

  const promoted = await callUnary(client, 'promote', { timeline: 2, timeoutMs: 0 }, CALL)
  expect(promoted).toMatchObject({ timeline: 2, inRecovery: false })
  const stop = { mode: StopMode.IMMEDIATE, timeoutMs: 1000 }
  expect(await callUnary(client, 'stop', stop, CALL)).toMatchObject({ state: 'STOPPED', pid: 0 })
  for (const each of [client, other, stranger]) each.close()
})

test('a second pgctld on the same directory is refused, and changes nothing', async () => {
  await using site = await Site.create()
  const first = site.service()
  await site.ready()
  const second = await outcomeOf(site.service('--http-port=0', '--grpc-port=0'))
  expect(second.code).toBe(1)
  expect(second.stderr.trim().split('\n').at(-1)).toBe(
    `pgctld: ${site.dataDir} is in the hands of pgctld ${first.pid}`,
  )
  expect(first.exitCode).toBeNull()
})

test('what an interrupted pgctld left half made is swept by the next', async () => {
  await using site = await Site.create()
  const first = site.service()
  await site.ready()
  const client = clientOf(site)
  const init = callUnary(client, 'init', { sql: ['select pg_sleep(60)'] }, CALL)
  const outcome = init.catch((error: Error) => error)
  const halfMade = () => readdirSync(site.base).filter((name) => name.includes('making'))
  await until(() => halfMade().length > 0)
  first.kill('SIGKILL')
  await first.exited
  expect(await outcome).toBeInstanceOf(Error)
  client.close()
  site.service()
  await site.ready()
  expect(halfMade()).toEqual([])
  expect(existsSync(site.dataDir)).toBe(false)
})

test('flags that are wrong in themselves are exit 2, one line each', async () => {
  await using site = await Site.create()
  const cases: [string[], string][] = [
    [['--bin-dir=/nowhere'], 'bin directory /nowhere does not exist'],
    [['--postgres-prot=1'], 'unknown flag --postgres-prot'],
    [['--postgres-set=fsync=off'], 'fsync'],
    [['--postgres-set=nonsense'], 'NAME=VALUE'],
    [['--postgres-port=lots'], 'lots'],
    [[`--socket-dir=/tmp/${'x'.repeat(100)}`], 'too long'],
  ]
  for (const [flags, says] of cases) {
    for (const outcome of [
      await site.command('start', ...flags),
      await outcomeOf(site.service(...flags)),
    ]) {
      expect([flags, outcome.code]).toEqual([flags, 2])
      expect(outcome.stderr).toContain(says)
      expect(outcome.stdout).toBe('')
    }
  }
  expect(readdirSync(site.base)).not.toContain('pgdata.lock')
})

test.skipIf(USERS.length < 2)('a folder that is not writable is exit 1 and named', async () => {
  await using site = await Site.create({ user: 'nobody' })
  chmodSync(site.base, 0o555)
  for (const outcome of [await site.command('init'), await outcomeOf(site.service())]) {
    expect(outcome.code).toBe(1)
    expect(outcome.stderr.trim().split('\n').at(-1)).toContain(site.base)
  }
})

test("Debian's Postgres, extracted or installed, works by its folder", async () => {
  const debian = await systemPostgres('initdb')
  if ('skipped' in debian) return console.warn(debian.skipped)
  await using site = await Site.create({ binDir: debian.path })
  expect(await site.command('init')).toMatchObject({ code: 0, stderr: '' })
  expect(await site.command('start')).toMatchObject({ code: 0, stderr: '' })
  const version = JSON.parse((await site.command('version', '--json')).stdout) as object
  expect(version).toMatchObject({ bin_dir: join(debian.path) })
})
