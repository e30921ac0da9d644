// Goal: no line of a log is lost or doubled by its rotation, and a log whose folder was removed is
// made anew.
// Method: a process that writes numbered lines without pause, while its log is renamed under it.
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import { existsSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '../support/until.ts'

const CHATTER = join(import.meta.dir, 'fixture', 'chatter.ts')
const ROTATIONS = 20
const SLOW_MS = 60_000

let base: string
beforeEach(() => (base = mkdtempSync(join(tmpdir(), 'mg-chat-'))))
afterEach(() => rmSync(base, { recursive: true, force: true }))

async function startChatter(log: string) {
  const fd = openSync(log, 'a')
  const child = Bun.spawn([process.execPath, CHATTER], {
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: fd,
    env: { ...process.env, MULTIGRES_LOG_FILE: log },
  })
  closeSync(fd)
  for await (const _ of child.stdout) break // it listens
  return child
}

const grows = async (log: string): Promise<void> => {
  await until(() => existsSync(log) && statSync(log).size > 1000, { deadlineMs: 10_000 })
}

test(
  'every line is in one of the files, once, in order',
  async () => {
    const log = join(base, 'a.log')
    const child = await startChatter(log)
    for (let round = ROTATIONS; round > 0; round -= 1) {
      await grows(log)
      renameSync(log, `${log}.${String(round).padStart(3, '0')}`)
      child.kill('SIGHUP')
    }
    await grows(log)
    await child.stdin.end()
    expect(await child.exited).toBe(0)
    const files = readdirSync(base).toSorted().toReversed() // the oldest first, a.log last
    const lines = files.flatMap((file) => readFileSync(join(base, file), 'utf8').trim().split('\n'))
    const last = lines.pop()
    expect(files).toHaveLength(ROTATIONS + 1)
    expect(last).toBe(`of ${lines.length}`)
    expect(lines.findIndex((line, at) => line !== String(at))).toBe(-1)
  },
  SLOW_MS,
)

test('a folder that was removed is made again, for the owner only', async () => {
  const log = join(base, 'logs', 'a.log')
  const child = Bun.spawn([process.execPath, CHATTER], {
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'ignore',
    env: { ...process.env, MULTIGRES_LOG_FILE: log },
  })
  for await (const _ of child.stdout) break
  child.kill('SIGHUP')
  await grows(log)
  child.kill('SIGKILL')
  expect(statSync(log).mode & 0o777).toBe(0o600)
  expect(statSync(join(base, 'logs')).mode & 0o777).toBe(0o700)
})
