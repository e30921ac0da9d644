// One run of the suite by pg_regress and psql against one address.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { giveTo, spawnIdentity, type RunAs } from '../../pgctld/postgres/run-as.ts'
import { BASE_ENV } from '../../pgctld/postgres/run-program.ts'
import type { Progress } from './apt.ts'
import { Relay, type AskPool, type SessionFigures, type Upstream } from './relay.ts'
import { writeSchedule, type Group } from './schedule.ts'
import { DATABASE } from './site.ts'
import type { Suite } from './suite.ts'

/** What a run is about. */
export type RunOptions = {
  readonly suite: Suite
  readonly name: string
  /** Its files; made here, owned by Postgres's user, who also writes there (COPY TO). */
  readonly dir: string
  readonly upstream: Upstream
  readonly ask: AskPool
  /** Backends are asked what they hold behind each batch. */
  readonly probes?: boolean
  readonly groups: readonly Group[]
  readonly runAs: RunAs
  readonly progress: Progress
}

/** What came of it. */
export type RunResult = {
  readonly name: string
  /** Whole texts of the result files by test; a test that never ran has none. */
  readonly results: ReadonlyMap<string, string>
  /** Tests that gave what Postgres's authors expect. */
  readonly asExpected: ReadonlySet<string>
  readonly sessions: ReadonlyMap<string, readonly SessionFigures[]>
  readonly seconds: number
}

const EXPECTED_DIR_SINCE = 16
const RUN_MS_MAX = 40 * 60_000

/** Runs the groups. Never throws for a test that fails. @throws Error when pg_regress cannot run. */
export async function runSuite(options: RunOptions): Promise<RunResult> {
  const { suite, name, dir, groups, runAs, progress } = options
  for (const below of ['', 'results', 'sql', 'expected']) {
    mkdirSync(join(dir, below), { recursive: true })
    giveTo(runAs, join(dir, below))
  }
  const schedule = join(dir, 'schedule')
  writeFileSync(schedule, writeSchedule(groups))
  await using relay = await Relay.open(options.upstream, options.ask, options.probes)
  const began = performance.now()
  const child = Bun.spawn(command(suite, { dir, schedule, port: relay.port }), {
    cwd: dir,
    env: environment(suite),
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    timeout: RUN_MS_MAX,
    ...spawnIdentity(runAs),
  })
  const said = new Response(child.stderr).text()
  const asExpected = new Set<string>()
  let done = 0
  for await (const line of lines(child.stdout)) {
    const verdict = readVerdict(line)
    if (verdict === undefined) continue
    done++
    if (verdict.ok) asExpected.add(verdict.test)
    if (done % 20 === 0) progress(`${name}: ${done} of ${groups.flat().length} tests`)
  }
  const code = await child.exited
  if (done === 0) throw new Error(`pg_regress ended with ${code}: ${(await said).slice(-2000)}`)
  return {
    name,
    results: readResults(dir, groups.flat()),
    asExpected,
    sessions: byTest(relay.sessions),
    seconds: Math.round((performance.now() - began) / 1000),
  }
}

function command(
  suite: Suite,
  { dir, schedule, port }: { dir: string; schedule: string; port: number },
): string[] {
  const expected = suite.major >= EXPECTED_DIR_SINCE ? [`--expecteddir=${suite.inputDir}`] : []
  return [
    suite.pgRegress,
    '--use-existing',
    `--bindir=${suite.binDir}`,
    `--dlpath=${suite.libDir}`,
    `--inputdir=${suite.inputDir}`,
    `--outputdir=${dir}`,
    ...expected,
    `--schedule=${schedule}`,
    `--dbname=${DATABASE}`,
    '--host=127.0.0.1',
    `--port=${port}`,
    '--user=postgres',
  ]
}

function environment(suite: Suite): Record<string, string> {
  return {
    ...BASE_ENV,
    ...suite.env,
    PGPASSWORD: 'postgres',
    PGSSLMODE: 'disable',
    PGGSSENCMODE: 'disable',
  }
}

/** Lines such as `     boolean     ... ok     120 ms`, `test x ... FAILED`, `ok 3 + boolean 12 ms`. */
function readVerdict(line: string): { test: string; ok: boolean } | undefined {
  const old = /^\s*(?:test )?(\S+)\s+\.\.\. (ok|failed|FAILED)\b/.exec(line)
  if (old?.[1] !== undefined) return { test: old[1], ok: old[2] === 'ok' }
  const tap = /^(ok|not ok) \d+\s+[-+] (\S+)\s/.exec(line)
  return tap?.[2] === undefined ? undefined : { test: tap[2], ok: tap[1] === 'ok' }
}

function readResults(dir: string, tests: readonly string[]): Map<string, string> {
  const results = new Map<string, string>()
  for (const test of tests) {
    const file = join(dir, 'results', `${test}.out`)
    // Bytes as they are: some tests print what is not UTF-8.
    if (existsSync(file)) results.set(test, readFileSync(file, 'latin1'))
  }
  return results
}

function byTest(sessions: readonly SessionFigures[]): Map<string, SessionFigures[]> {
  return Map.groupBy(sessions, ({ name }) => name.replace(/^pg_regress\//, ''))
}

async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = parts.pop() ?? ''
    yield* parts
  }
  if (rest !== '') yield rest
}
