// Goal: a service starts, reloads, drains, stops and fails as the contract of every service says.
// Method: a fixture that is nothing but runService, in a process of its own, with real signals.
import { afterAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '../support/until.ts'
import { startFixture, type Fixture } from './start-fixture.ts'

const dir = mkdtempSync(join(tmpdir(), 'mg-lifecycle-'))
afterAll(() => rmSync(dir, { recursive: true }))

const CLOSED = ['closed last', 'closed first'] // what is owned, in reverse

async function get(fixture: Fixture, path: string): Promise<{ status: number; text: string }> {
  const reply = await fetch(`${fixture.url}${path}`)
  return { status: reply.status, text: await reply.text() }
}

function logged(lines: readonly string[], message: string): boolean {
  return lines.some((line) => line.includes(`"message":"${message}"`))
}

/** A fixture that has logged that it serves. */
async function serving(args: readonly string[], env: Record<string, string> = {}) {
  const fixture = await startFixture(args, env)
  await until(() => logged(fixture.err, 'serving'))
  return fixture
}

test('SIGTERM drains, closes in reverse order and exits with 0', async () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    await using fixture = await serving([])
    expect((await get(fixture, '/ready')).status).toBe(200)
    fixture.child.kill(signal)
    const { code, out, err } = await fixture.end()
    expect([code, out]).toEqual([0, CLOSED])
    expect(logged(err, 'drained')).toBe(true)
  }
})

test('readiness drops first, and sessions have until the deadline', async () => {
  await using fixture = await serving(['--sessions', '3', '--lameduck-period', '60s'])
  fixture.child.kill('SIGTERM')
  const { text } = await until(async () => {
    const ready = await get(fixture, '/ready')
    return ready.status === 503 && ready
  })
  expect(JSON.parse(text)).toEqual({ reasons: ['draining'] })
  expect(JSON.parse((await get(fixture, '/lameduck')).text)).toMatchObject({ sessions: 3 })
})

test('the deadline cuts what is left, and the exit code is still 0', async () => {
  await using fixture = await serving(['--sessions', '3', '--lameduck-period', '50ms'])
  fixture.child.kill('SIGTERM')
  const { code, err } = await fixture.end()
  expect(code).toBe(0)
  expect(err.join('\n')).toContain('"sessions_cut":3')
})

test('one Ctrl-C that arrives twice drains in full; a later one cuts short', async () => {
  await using fixture = await serving(['--sessions', '1', '--lameduck-period', '60s'])
  fixture.child.kill('SIGINT')
  fixture.child.kill('SIGINT')
  await until(() => fixture.err.filter((line) => line.includes('asked to stop')).length >= 1)
  const began = performance.now()
  await until(
    () => {
      fixture.child.kill('SIGTERM')
      return fixture.child.exitCode !== null
    },
    { deadlineMs: 10_000 },
  )
  expect(performance.now() - began).toBeGreaterThan(500)
  expect((await fixture.end()).code).toBe(0)
})

test('under a supervisor the end of stdin is a SIGTERM, otherwise it is nothing', async () => {
  await using alone = await serving([])
  await using supervised = await serving([], { MULTIGRES_SUPERVISED: '1' })
  await alone.child.stdin.end()
  await supervised.child.stdin.end()
  expect((await supervised.end()).code).toBe(0)
  expect(logged(supervised.err, 'asked to stop')).toBe(true)
  expect((await get(alone, '/ready')).status).toBe(200)
})

test('wrong settings are exit code 2, all of them named, with nothing else said', async () => {
  await using fixture = await startFixture(['--sesions', '3', '--limit', 'x'], {
    MULTIGRES_FIXTURE_LOG_LEVEL: 'loud',
  })
  const { code, out, err } = await fixture.end()
  expect([code, out]).toEqual([2, []])
  expect(err).toEqual([
    'fixture: unknown flag --sesions; did you mean --sessions?',
    'fixture: MULTIGRES_FIXTURE_LOG_LEVEL: "loud" is not one of debug, info, warn, error',
    'fixture: --limit: "x" is not a whole number',
  ])
})

test('--help is on stdout with exit code 0', async () => {
  await using fixture = await startFixture(['--help'])
  const { code, out, err } = await fixture.end()
  expect([code, err]).toEqual([0, []])
  expect(out.join('\n')).toContain('MULTIGRES_FIXTURE_SESSIONS')
})

test('a busy port is exit code 1 and one line naming port and flag', async () => {
  using taken = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Response('mine') })
  await using fixture = await startFixture(['--http-port', `${taken.port}`])
  const { code, err } = await fixture.end()
  expect(code).toBe(1)
  expect(err).toEqual([
    `fixture: port ${taken.port} on 127.0.0.1 is busy: choose another by --http-port`,
  ])
})

test('a start that the world refuses is exit code 1 and one line, after closing everything', async () => {
  await using fixture = await startFixture(['--fault', 'refuse'])
  const { code, out, err } = await fixture.end()
  expect([code, out]).toEqual([1, CLOSED])
  expect(err).toEqual(['fixture: the folder belongs to somebody else'])
})

test('a bug in a start is logged with its stack, and the last line is plain', async () => {
  await using fixture = await startFixture(['--fault', 'bug'])
  const { code, out, err } = await fixture.end()
  expect([code, out]).toEqual([1, CLOSED])
  expect(err.at(-1)).toBe('fixture: undefined is not a function')
  expect(err[0]).toContain('fixture/main.ts')
})

test('what nobody catches ends the process with 1, logged with its stack', async () => {
  for (const fault of ['crash', 'reject']) {
    await using fixture = await startFixture(['--fault', fault])
    const { code, err } = await fixture.end()
    expect(code).toBe(1)
    expect(logged(err, 'crashed')).toBe(true)
    expect(err.at(-1)).toStartWith('fixture: crashed: ')
  }
})

test('a start that hangs is left behind when told to stop', async () => {
  await using fixture = await startFixture(['--fault', 'hang', '--lameduck-period', '50ms'])
  expect(await get(fixture, '/ready')).toMatchObject({ status: 503 })
  expect((await get(fixture, '/live')).status).toBe(200)
  fixture.child.kill('SIGTERM')
  expect((await fixture.end()).code).toBe(0)
})

test('what does not close is given up after its limit', async () => {
  await using fixture = await serving(['--fault', 'stuck'])
  fixture.child.kill('SIGTERM')
  const { code, err } = await fixture.end()
  expect(code).toBe(0)
  expect(logged(err, 'not everything was closed')).toBe(true)
})

test('SIGHUP and a changed file reload live settings, and a fixed one asks for a restart', async () => {
  const file = join(dir, 'settings.yaml')
  writeFileSync(file, 'sessions: 1\nlimit: 5\nunheard_of: 1\n')
  await using fixture = await serving(['--config', file])
  expect(logged(fixture.err, 'setting ignored')).toBe(true)
  const sessions = async () => JSON.parse((await get(fixture, '/lameduck')).text).sessions
  writeFileSync(file, 'sessions: 2\nlimit: 5\n')
  fixture.child.kill('SIGHUP')
  await until(async () => (await sessions()) === 2)
  writeFileSync(file, 'sessions: 33\nlimit: 6\n')
  await until(async () => (await sessions()) === 33)
  await until(() => logged(fixture.err, 'settings need a restart'))
  writeFileSync(file, 'sessions: nonsense\n')
  await until(() => logged(fixture.err, 'settings not reloaded'))
  expect(await sessions()).toBe(33)
})

test('the log level can be changed while it runs', async () => {
  await using fixture = await serving([])
  const body = JSON.stringify({ log_level: 'error' })
  await fetch(`${fixture.url}/config`, { method: 'POST', body })
  fixture.child.kill('SIGTERM')
  await fixture.end()
  expect(logged(fixture.err, 'stopped')).toBe(false)
})

test('the token of the secrets folder guards changes; a folder that is none is exit code 2', async () => {
  writeFileSync(join(dir, 'token'), 'sesame\n')
  await using fixture = await serving(['--secrets-dir', dir])
  const post = async (headers: Record<string, string>) =>
    (await fetch(`${fixture.url}/lameduck`, { method: 'POST', headers })).status
  expect(await post({})).toBe(401)
  expect(await post({ authorization: 'Bearer sesame' })).toBe(200)
  await using lost = await startFixture(['--secrets-dir', join(dir, 'none')])
  const { code, err } = await lost.end()
  expect([code, err.length]).toEqual([2, 1])
})

test('a drain over HTTP does not end the process, and a later SIGTERM does', async () => {
  await using fixture = await serving([])
  await fetch(`${fixture.url}/lameduck`, { method: 'POST' })
  await until(async () => (await get(fixture, '/lameduck')).text.includes('drained'))
  expect((await get(fixture, '/live')).status).toBe(200)
  fixture.child.kill('SIGTERM')
  expect((await fixture.end()).code).toBe(0)
})
