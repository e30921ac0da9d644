// Goal: what cannot work is said at once, in words that tell the way out, with the exit code of the
// contract: 2 for flags that are wrong in themselves, 1 where the world refuses. Nothing is made.
// Method: bin/multigres as scripts call it; no cluster ever starts here.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { multigres } from '../support/cluster.ts'
import { freePort } from '../support/ports.ts'

let base: string
beforeAll(() => (base = mkdtempSync(join(tmpdir(), 'mg-cli-'))))
afterAll(() => rmSync(base, { recursive: true }))

const start = (...flags: string[]) =>
  multigres(['cluster', 'start', '--dir', join(base, 'new'), ...flags])

const linesOf = (text: string): string[] => text.split('\n').filter((line) => line !== '')

describe('help', () => {
  for (const words of ['--help', 'cluster --help', 'cluster start --help', 'help cluster stop']) {
    test(`multigres ${words} teaches on stdout`, async () => {
      const { exitCode, stdout, stderr } = await multigres(words.split(' '))
      expect(exitCode).toBe(0)
      expect(stdout).toContain('Usage: multigres')
      expect(stderr).toBe('')
    })
  }
})

describe('of the commands for operators', () => {
  const wrong: [string[], string][] = [
    [['cluster', 'recovery', 'pauze'], 'did you mean pause?'],
    [['cluster', 'recovery', 'pause', '--wiat=1s'], 'did you mean --wait?'],
    [['cluster', 'recovery', 'pause', '--wait=soon'], '--wait'],
    [['cluster', 'recovery', 'override'], '--lost'],
    [['cluster', 'recovery', 'override', '--lost=a', '--durability=some'], '--durability'],
    [['cluster', 'events', '--last=some'], '--last'],
    [['locks', 'show'], 'which lock?'],
    [['locks', 'list', '--topology=zookeeper://x'], 'zookeeper'],
    [['lock', 'list'], 'did you mean locks?'],
  ]
  for (const [words, hint] of wrong) {
    test(`${words.join(' ')} is wrong in itself`, async () => {
      const { exitCode, stdout, stderr } = await multigres(words)
      expect(stderr).toContain(hint)
      expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' })
    })
  }

  for (const words of ['cluster events', 'cluster recovery status', 'locks list']) {
    test(`${words} is refused where there is no cluster`, async () => {
      const dir = join(base, 'nowhere')
      const { exitCode, stderr } = await multigres([...words.split(' '), `--dir=${dir}`])
      expect(stderr).toContain(`${dir}: there is no cluster`)
      expect(exitCode).toBe(1)
      expect(existsSync(dir)).toBe(false)
    })

    test(`${words} --help teaches`, async () => {
      const { exitCode, stdout } = await multigres([...words.split(' '), '--help'])
      expect(stdout).toContain(`Usage: multigres ${words}`)
      expect(exitCode).toBe(0)
    })
  }

  test('a store that cannot be reached is named within seconds', async () => {
    const spec = `etcd://127.0.0.1:${await freePort()}`
    const { exitCode, stderr } = await multigres(['locks', 'list', `--topology=${spec}`])
    expect(stderr).toContain(`cannot read the locks in ${spec}`)
    expect(exitCode).toBe(1)
  })
})

describe('wrong in itself: exit code 2', () => {
  const cases: [string[], string][] = [
    [['--pooler', '3'], 'did you mean --poolers?'],
    [['--poolers', 'three'], 'not a whole number'],
    [['--poolers', '0'], '--poolers'],
    [['--port', '70000'], '--port'],
    [['--topology', 'zookeeper'], '--topology'],
    [['--postgres', '/no/such/folder'], '/no/such/folder'],
    [['--durability', 'sometimes'], '--durability'],
    [['--durability', 'at_least_4'], 'only 3 poolers'],
    [['--tls', 'a.crt,b.key'], 'a.crt'],
    [['--start-timeout', '60'], '--start-timeout'],
    [['--set', 'pooler'], 'SERVICE.KEY=VALUE'],
    [['--set', 'pooler.no_such_setting=1'], 'no_such_setting'],
    [['--set', 'pooler.pool_size=many'], 'pool'],
    [['--set', 'postgres.fsync=off'], 'fsync'],
    [['extra'], 'extra'],
  ]
  for (const [flags, hint] of cases) {
    test(`start ${flags.join(' ')}`, async () => {
      const { exitCode, stdout, stderr } = await start(...flags)
      expect(stderr).toContain(hint)
      expect(exitCode).toBe(2)
      expect(stdout).toBe('')
      expect(existsSync(join(base, 'new'))).toBe(false)
    })
  }

  test('every problem is told in one go', async () => {
    const { stderr } = await start('--poolers=x', '--cells=y', '--unknown')
    expect(linesOf(stderr)).toHaveLength(3)
  })

  test('an unknown command comes with the nearest known one', async () => {
    const { exitCode, stderr } = await multigres(['cluster', 'strat'])
    expect(exitCode).toBe(2)
    expect(stderr).toContain('did you mean start?')
    expect((await multigres(['clutser'])).stderr).toContain('did you mean cluster?')
  })
})

describe('the world refuses: exit code 1, one line', () => {
  test('a busy port is named, with the flag that changes it', async () => {
    const port = await freePort()
    using _ = Bun.listen({ hostname: '127.0.0.1', port, socket: { data() {} } })
    const { exitCode, stderr } = await start('--port', String(port))
    expect(exitCode).toBe(1)
    expect(linesOf(stderr)).toHaveLength(1)
    expect(stderr).toContain(`port ${port} of gateway`)
    expect(stderr).toContain('--port N')
  })

  test('a port that a listener shares by SO_REUSEPORT is busy, too', async () => {
    const port = await freePort()
    const shared = { hostname: '127.0.0.1', port, reusePort: true, socket: { data() {} } }
    using _ = Bun.listen(shared)
    const { exitCode, stderr } = await start('--port', String(port))
    expect(exitCode).toBe(1)
    expect(stderr).toContain(`port ${port}`)
  })

  for (const command of ['start', 'status', 'stop']) {
    test(`${command} leaves a foreign folder alone`, async () => {
      const dir = join(base, `foreign-${command}`)
      mkdirSync(dir)
      writeFileSync(join(dir, 'thesis.txt'), 'years of work')
      const clean = command === 'stop' ? ['--clean'] : []
      const { exitCode, stderr } = await multigres(['cluster', command, '--dir', dir, ...clean])
      expect(exitCode).toBe(1)
      expect(stderr).toContain(dir)
      expect(linesOf(stderr)).toHaveLength(1)
      expect(readdirSync(dir)).toEqual(['thesis.txt'])
    })
  }

  test('a folder that cannot be made', async () => {
    const file = join(base, 'file')
    writeFileSync(file, '')
    const { exitCode, stderr } = await multigres(['cluster', 'start', '--dir', join(file, 'x')])
    expect(exitCode).toBe(1)
    expect(linesOf(stderr)).toHaveLength(1)
  })

  test('a folder that nobody can write to, not even root', async () => {
    const { exitCode, stderr } = await multigres(['cluster', 'start', '--dir', '/proc/cluster'])
    expect(exitCode).toBe(1)
    expect(stderr).toContain('/proc/cluster')
  })

  test('an etcd that is not on the machine', async () => {
    const { exitCode, stderr } = await multigres(
      ['cluster', 'start', '--dir', join(base, 'new'), '--topology', 'etcd', '--port', '0'],
      { PATH: '/usr/bin:/bin' },
    )
    if (Bun.which('etcd', { PATH: '/usr/bin:/bin' }) !== null) return
    expect(exitCode).toBe(1)
    expect(stderr).toContain('etcd')
    expect(existsSync(join(base, 'new'))).toBe(false)
  })

  for (const address of ['192.0.2.1', 'nohost.invalid']) {
    test(`an address that is not of this machine: ${address}`, async () => {
      const file = join(base, 'password')
      writeFileSync(file, 'of-my-own\n')
      const flags = ['--listen', address, '--port', '0', '--password-file', file]
      const { exitCode, stderr } = await start(...flags)
      expect(exitCode).toBe(1)
      expect(stderr).toContain(`cannot listen on ${address}: it is no address of this machine`)
      expect(existsSync(join(base, 'new'))).toBe(false)
    })
  }

  test('an open address with the default password', async () => {
    const { exitCode, stderr } = await start('--listen', '0.0.0.0', '--port', '0')
    expect(exitCode).toBe(1)
    expect(stderr).toContain('--password-file')
    expect(existsSync(join(base, 'new'))).toBe(false)
  })
})

describe('nothing runs', () => {
  test('status --json says so with exit code 0, also for a folder that is not there', async () => {
    const { exitCode, stdout } = await multigres([
      'cluster',
      'status',
      '--json',
      '--dir',
      join(base, 'absent'),
    ])
    expect(exitCode).toBe(0)
    expect(JSON.parse(stdout)).toEqual({ running: false, shards: [], gateways: [], orchs: [] })
  })

  test('stop has nothing to do', async () => {
    const { exitCode } = await multigres(['cluster', 'stop', '--dir', join(base, 'absent')])
    expect(exitCode).toBe(0)
  })
})
