// Goal: PostgreSQL's own regression suite gives the same answers through the gateway.
// Method: one server. pg_regress runs against it twice without the gateway (what differs between
// these two is noise), then through gateway and pooler with small pools, and every result file is
// compared. Then our own runner sends the same statements by Parse, Bind and Execute.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { resolveRunAs } from '../../pgctld/postgres/run-as.ts'
import { DEBIAN_CACHE_DIR } from './apt.ts'
import { judge, unifiedDiff, type Answer } from './compare.ts'
import { runSuite, type RunResult } from './psql-run.ts'
import type { AskPool, Upstream } from './relay.ts'
import {
  addUp,
  isEqual,
  percent,
  tableOf,
  totalOf,
  type PoolReport,
  type TestRow,
} from './report.ts'
import { pickTests, readSchedule, type Group } from './schedule.ts'
import { Site } from './site.ts'
import { provideSuite, type Suite } from './suite.ts'

const HELP = `Usage: npm run test:regress -- [FLAGS]
  --tests a,b     these tests of the suite only, and test_setup (default: all)
  --pool 4,8      sizes of the pool that the gateway's runs have
  --direct-only   Postgres itself only
  --serial        one test after the other (default: in the suite's parallel groups)
  --out DIR       where tables, results and differences go (default: in the cache)
  --keep          leave the server's and the runs' files`

const { values: flags } = parseArgs({
  args: Bun.argv.slice(2),
  options: {
    tests: { type: 'string' },
    pool: { type: 'string', default: '4,8' },
    'direct-only': { type: 'boolean', default: false },
    serial: { type: 'boolean', default: false },
    out: { type: 'string' },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const began = performance.now()
const progress = (line: string): void => {
  const seconds = ((performance.now() - began) / 1000).toFixed(0)
  process.stderr.write(`${seconds.padStart(5)} s  ${line}\n`)
}
const print = (text: string): void => void process.stdout.write(text)
const noPool: AskPool = async () => undefined

async function main(): Promise<number> {
  // Said to us by whoever started us; the cluster's own processes have another starter.
  delete process.env['MULTIGRES_SUPERVISED']
  const suite = await provideSuite(progress)
  const out = resolve(flags.out ?? join(DEBIAN_CACHE_DIR, '..', 'regress'))
  rmSync(out, { recursive: true, force: true })
  mkdirSync(out, { recursive: true })
  const groups = groupsOf(suite)
  await using site = new Site(suite, { keep: flags.keep })
  const pools = flags['direct-only'] ? [] : flags.pool.split(',').map(Number)
  progress(`starting PostgreSQL ${suite.version}`)
  await site.start(pools[0] ?? 1)

  const run = async (name: string, upstream: Upstream, ask: AskPool): Promise<RunResult> => {
    await site.reset()
    progress(`${name}: ${groups.flat().length} tests`)
    const dir = join(site.base, name)
    const runAs = resolveRunAs(undefined)
    const result = await runSuite({ suite, name, dir, upstream, ask, groups, runAs, progress })
    cpSync(join(dir, 'results'), join(out, name), { recursive: true })
    return result
  }
  const direct = [
    await run('direct-1', site.direct, noPool),
    await run('direct-2', site.direct, noPool),
  ]
  const tests = groups.flat()
  showDirect(tests, direct)
  const reports: PoolReport[] = []
  for (const pool of pools) {
    if (pool !== pools[0]) await site.start(pool)
    const result = await run(`pool-${pool}`, site.gateway, site.askPool)
    reports.push(await compare(tests, direct, result, join(out, 'differences')))
  }
  if (reports.length > 0) {
    const table = tableOf(tests, reports)
    writeFileSync(join(out, 'table.txt'), table)
    print(`\n${table}\n`)
  }
  for (const report of reports) showSummary(report)
  print(`results and differences: ${out}\n`)
  const good = reports.every(({ rows }) => [...rows.values()].every((row) => isEqual(row.verdict)))
  return good ? 0 : 1
}

function groupsOf(suite: Suite): Group[] {
  const all = readSchedule(readFileSync(join(suite.inputDir, 'parallel_schedule'), 'utf8'))
  const picked = flags.tests === undefined ? all : pickTests(all, flags.tests.split(','))
  return flags.serial ? picked.flat().map((test) => [test]) : picked
}

function answerOf(result: RunResult, test: string): Answer {
  return { text: result.results.get(test), asExpected: result.asExpected.has(test) }
}

function showDirect(tests: readonly string[], direct: readonly RunResult[]): void {
  for (const { name, asExpected, seconds } of direct) {
    const failed = tests.filter((test) => !asExpected.has(test))
    const names = failed.length === 0 ? '' : `; not: ${failed.join(' ')}`
    print(`${name}: ${asExpected.size} of ${tests.length} as expected, ${seconds} s${names}\n`)
  }
  const noisy = tests.filter((test) => new Set(direct.map((run) => run.results.get(test))).size > 1)
  print(`noise: ${noisy.length === 0 ? 'none' : noisy.join(' ')}\n`)
}

async function compare(
  tests: readonly string[],
  direct: readonly RunResult[],
  result: RunResult,
  dir: string,
): Promise<PoolReport> {
  const rows = new Map<string, TestRow>()
  for (const test of tests) {
    const answers = direct.map((run) => answerOf(run, test))
    const verdict = judge(answerOf(result, test), answers)
    rows.set(test, { verdict, figures: addUp(result.sessions.get(test) ?? []) })
    if (verdict === 'same') continue
    const [first] = answers
    const diff = await unifiedDiff(
      { name: `direct/${test}`, text: first?.text ?? '' },
      { name: `${result.name}/${test}`, text: result.results.get(test) ?? '' },
    )
    mkdirSync(join(dir, result.name), { recursive: true })
    writeFileSync(join(dir, result.name, `${test}.diff`), diff, 'latin1')
  }
  return { title: `through the gateway, ${result.name}`, seconds: result.seconds, rows }
}

function showSummary(report: PoolReport): void {
  const { batches, idle, released, handOvers, hung, unknown } = totalOf(report)
  const differing = [...report.rows].filter(([, { verdict }]) => !isEqual(verdict))
  const accepted = [...report.rows].filter(([, { verdict }]) => verdict === 'accepted')
  const names = (rows: readonly (readonly [string, TestRow])[]): string =>
    rows.length === 0 ? '' : ` (${rows.map(([test]) => test).join(' ')})`
  print(`${report.title}: ${report.seconds} s
  differing: ${differing.length}${names(differing)}
  another accepted answer: ${accepted.length}${names(accepted)}
  batches: ${batches}, released unpinned: ${released} = ${percent(released, batches)}; \
of the ${idle} outside of transactions ${percent(released, idle)}
  hand-overs between sessions: ${handOvers}; sessions hung: ${hung}, not asked about: ${unknown}
`)
}

if (flags.help) print(`${HELP}\n`)
else process.exitCode = await main()
