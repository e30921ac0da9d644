// Goal: in a fresh clone, with Node and npm only, the first command installs what is missing,
// whatever kept install scripts from running and whoever calls it; later ones are instant.
// Method: real clones of this repository and a real npm; each case runs `multigres --help`, root's
// and a plain user's clones also bring three nodes up.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { appendFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { homedir, tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'

const PROJECT = join(import.meta.dir, '..', '..')
const INSTALL_MS = 300_000
const NOBODY = 65_534
const isRoot = userInfo().uid === 0

type Options = { env?: Record<string, string>; uid?: number; gid?: number }

const bases: string[] = []
afterAll(() => bases.forEach((base) => rmSync(base, { recursive: true, force: true })), INSTALL_MS)

async function run(command: readonly string[], cwd: string, options: Options = {}) {
  const { env = {}, ...identity } = options
  const child = Bun.spawn([...command], {
    cwd,
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '/', ...env },
    ...identity,
  })
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  return { exitCode: await child.exited, stdout, stderr }
}

/** A clone in a new folder below `parent`, given to `uid`. */
async function clone(parent: string, uid?: number): Promise<string> {
  const base = mkdtempSync(join(parent, 'mg-clone-'))
  bases.push(base)
  const dir = join(base, 'multigres')
  const git = await run(['git', 'clone', '-q', '--no-hardlinks', PROJECT, dir], base)
  if (git.exitCode !== 0) throw new Error(git.stderr)
  if (uid !== undefined) await run(['chown', '-R', `${uid}:${uid}`, base], base)
  return dir
}

const help = (dir: string, options: Options = {}) =>
  run([join(dir, 'bin', 'multigres'), '--help'], dir, options)

async function expectHelp(dir: string, options: Options = {}): Promise<string> {
  const { exitCode, stdout, stderr } = await help(dir, options)
  if (exitCode !== 0) throw new Error(stderr)
  expect(stdout).toStartWith('multigres: high availability')
  expect(stdout).not.toContain('npm')
  return stderr
}

/** The whole of it: `npm start` in the background, then `stop --clean`. */
async function expectCluster(dir: string, options: Options = {}): Promise<void> {
  const flags = ['--', '--detach', '--json', '--port=0']
  const started = await run(['npm', 'start', '--silent', ...flags], dir, options)
  if (started.exitCode !== 0) throw new Error(started.stderr)
  expect(JSON.parse(started.stdout)).toMatchObject({ running: true })
  const multigres = join(dir, 'bin', 'multigres')
  const stopped = await run([multigres, 'cluster', 'stop', '--clean'], dir, options)
  expect(stopped.exitCode).toBe(0)
  expect(existsSync(join(dir, '.multigres'))).toBe(false)
}

describe('a clone', () => {
  let dir: string
  beforeAll(async () => void (dir = await clone(tmpdir())))

  test(
    'installs with NODE_ENV=production, and only once: then it says nothing',
    async () => {
      expect(await expectHelp(dir, { env: { NODE_ENV: 'production' } })).toContain('npm ci')
      expect(await expectHelp(dir)).toBe('')
    },
    INSTALL_MS,
  )

  test(
    'repairs what npm ci --ignore-scripts left, also when two start at once',
    async () => {
      await run(['npm', 'ci', '--ignore-scripts'], dir)
      const said = await Promise.all([expectHelp(dir), expectHelp(dir)])
      expect(said.join('')).toContain('finishing the installation of bun')
      expect(said.join('')).not.toContain('npm ci')
    },
    INSTALL_MS,
  )

  test(
    'installs what NODE_ENV=production npm ci left out',
    async () => {
      await run(['npm', 'ci'], dir, { env: { NODE_ENV: 'production' } })
      await expectHelp(dir)
      expect(existsSync(join(dir, 'node_modules', 'typescript'))).toBe(true)
    },
    INSTALL_MS,
  )

  test(
    'a lock file that changed is installed again',
    async () => {
      appendFileSync(join(dir, 'package-lock.json'), ' ')
      rmSync(join(dir, 'node_modules', 'hono'), { recursive: true })
      rmSync(join(dir, 'node_modules', '.package-lock.json'))
      expect(await expectHelp(dir)).toContain('npm ci')
      expect(existsSync(join(dir, 'node_modules', 'hono'))).toBe(true)
    },
    INSTALL_MS,
  )
})

test.skipIf(!isRoot)(
  "a clone below root's home",
  async () => {
    const dir = await clone(homedir())
    await expectHelp(dir)
    await expectCluster(dir)
  },
  INSTALL_MS,
)

test.skipIf(!isRoot)(
  'a clone of a plain user',
  async () => {
    const dir = await clone(tmpdir(), NOBODY)
    const nobody = { uid: NOBODY, gid: NOBODY, env: { HOME: join(dir, '..') } }
    await expectHelp(dir, nobody)
    await expectCluster(dir, nobody)
  },
  INSTALL_MS,
)
