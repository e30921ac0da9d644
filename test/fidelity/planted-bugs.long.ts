// Goal: each *never* of the data plane is kept by its guard, and a test sees when it is not.
// Method: in a copy of the project a test is run, and passes; a guard is taken out, and it fails.
// PLANTED_SECONDS bounds the run; without it all are planted.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import {
  chmodSync,
  cpSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PLANTED_BUGS, type PlantedBug } from './planted-bugs.ts'

const ROOT = join(import.meta.dir, '../..')
const PARTS = ['cli', 'gateway', 'orch', 'pgctld', 'pooler', 'proto', 'shared', 'test']
const FILES = ['bunfig.toml', 'package.json', 'tsconfig.json']
const RUN_MS = 120_000
const TEST_MS = 60_000
const SECONDS = Number(Bun.env['PLANTED_SECONDS'] ?? Number.POSITIVE_INFINITY)

let copy: string
const untilMs = Date.now() + SECONDS * 1000
let planted = 0

beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), 'mg-planted-'))
  chmodSync(copy, 0o755) // Postgres runs as somebody else when we are root
  for (const part of [...PARTS, ...FILES]) {
    cpSync(join(ROOT, part), join(copy, part), { recursive: true })
  }
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
})
afterAll(() => {
  console.error(`${planted} of ${PLANTED_BUGS.length} bugs planted`)
  rmSync(copy, { recursive: true, force: true })
})

/** Runs a test in the copy. Its exit code, and the last it said. */
async function run({ test: file, only }: PlantedBug): Promise<{ failed: boolean; said: string }> {
  const filter = only === '' ? [] : ['-t', only]
  const argv = [process.execPath, 'test', `--timeout=${TEST_MS}`, file, ...filter]
  const child = Bun.spawn(argv, {
    cwd: copy,
    env: { ...Bun.env },
    stdout: 'ignore',
    stderr: 'pipe',
    timeout: RUN_MS,
  })
  const said = await new Response(child.stderr).text()
  const failed = (await child.exited) !== 0
  return { failed, said: said.slice(-2000) }
}

test.each(PLANTED_BUGS.map((bug) => [bug.never, bug] as const))(
  'never: %s',
  async (_, bug) => {
    if (Date.now() > untilMs) return
    const path = join(copy, bug.file)
    const text = readFileSync(path, 'utf8')
    expect(text.split(bug.from)).toHaveLength(2)
    const sound = await run(bug)
    expect(sound.said).toMatch(/^ *0 fail$/m)
    expect(sound.said).not.toMatch(/^ *0 pass$/m)
    writeFileSync(
      path,
      text.replace(bug.from, () => bug.to),
    )
    const { failed, said } = await run(bug)
    writeFileSync(path, text)
    // A test that could not even begin says nothing about the guard.
    expect(said).toMatch(/^ *\d+ fail$/m)
    expect(said).toContain('(fail)')
    expect(failed).toBe(true)
    planted++
  },
  2 * RUN_MS + TEST_MS,
)
