// Goal: PostgreSQL's own regression suite gives the same answers through the gateway.
// Method: one server. pg_regress runs against it twice without the gateway (what differs between
// these two is noise), then through gateway and pooler with small pools, and every result file is
// compared. Then our own runner sends the same statements by Parse, Bind and Execute.
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { resolveRunAs } from '../../pgctld/postgres/run-as.ts'
import { DEBIAN_CACHE_DIR } from './apt.ts'
import type { Mode } from './extended/exchange.ts'
import { extendedPhase } from './extended-phase.ts'
import { Output, type Phase } from './phase.ts'
import { psqlPhase } from './psql-phase.ts'
import { heldTable, isEqual, summaryOf, tableOf, type PoolReport } from './report.ts'
import { pickTests, readSchedule, type Group } from './schedule.ts'
import { Site } from './site.ts'
import { provideSuite, type Suite } from './suite.ts'

const HELP = `Usage: npm run test:regress -- [FLAGS]
  --tests a,b     these tests of the suite only, and test_setup (default: all)
  --pool 4,8      sizes of the pool that the gateway's runs have
  --protocol P,Q  psql (simple), unnamed, named (default: all three, one after the other)
  --direct-only   Postgres itself only
  --oracle        also how many batches could be released at best (with psql)
  --serial        one test after the other (default: in the suite's parallel groups)
  --out DIR       where tables, results and differences go (default: in the cache)
  --keep          leave the server's and the runs' files`

const { values: flags } = parseArgs({
  args: Bun.argv.slice(2),
  options: {
    tests: { type: 'string' },
    pool: { type: 'string', default: '4,8' },
    protocol: { type: 'string', default: 'psql,unnamed,named' },
    oracle: { type: 'boolean', default: false },
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

/** What is given back or removed at the end, also when a signal ends us. */
const owned = new AsyncDisposableStack()

async function main(): Promise<number> {
  const protocols = flags.protocol.split(',').map(readProtocol)
  const suite = await provideSuite(progress)
  const groups = groupsOf(suite)
  const site = owned.use(new Site(suite, { keep: flags.keep }))
  const pools = flags['direct-only'] ? [] : flags.pool.split(',').map(readSize)
  progress(`starting PostgreSQL ${suite.version}`)
  await site.start(pools[0] ?? 1)
  const phase: Phase = {
    suite,
    site,
    groups,
    tests: groups.flat(),
    pools,
    oracle: flags.oracle,
    runAs: resolveRunAs(undefined),
    progress,
    out: new Output(resolve(flags.out ?? join(DEBIAN_CACHE_DIR, '..', 'regress'))),
    target: (through) =>
      through
        ? { upstream: site.gateway, ask: site.askPool }
        : { upstream: site.direct, ask: async () => undefined },
  }
  const reports: PoolReport[] = []
  for (const protocol of protocols) {
    const more = protocol === 'psql' ? await psqlPhase(phase) : await extendedPhase(phase, protocol)
    show(phase, protocol, more)
    reports.push(...more)
  }
  phase.out.print(`\n${reports.map(summaryOf).join('')}`)
  phase.out.print(`results and differences: ${phase.out.dir}\n`)
  const good = reports.every(({ rows }) => [...rows.values()].every((row) => isEqual(row.verdict)))
  return good ? 0 : 1
}

function show({ tests, out }: Phase, protocol: string, reports: readonly PoolReport[]): void {
  if (reports.length === 0) return
  const table = tableOf(tests, reports)
  out.save(`${protocol}.txt`, `${table}\n${reports.map(summaryOf).join('')}`)
  out.save(`${protocol}-kept.txt`, reports.map(heldTable).join(''))
  out.print(`\n${table}`)
}

function groupsOf(suite: Suite): Group[] {
  const all = readSchedule(readFileSync(join(suite.inputDir, 'parallel_schedule'), 'utf8'))
  const picked = flags.tests === undefined ? all : pickTests(all, flags.tests.split(','))
  return flags.serial ? picked.flat().map((test) => [test]) : picked
}

function readProtocol(name: string): 'psql' | Mode {
  if (name === 'psql' || name === 'unnamed' || name === 'named') return name
  throw new Error(`--protocol is psql, unnamed or named, not ${name}`)
}

function readSize(text: string): number {
  const size = Number(text)
  if (Number.isInteger(size) && size > 0) return size
  throw new Error(`--pool takes sizes, not ${text}`)
}

/** A signal, or the end of the one who started us (its pipe to us closes), ends it cleanly. */
function stopOnSignals(): void {
  const stop = (): void => void owned.disposeAsync().finally(() => process.exit(130))
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, stop)
  if (process.env['MULTIGRES_SUPERVISED'] !== '1') return
  process.stdin.once('end', stop)
  process.stdin.resume()
  process.stdin.unref()
  // Said to us by whoever started us; the cluster's own processes have another starter.
  delete process.env['MULTIGRES_SUPERVISED']
}

if (flags.help) {
  process.stdout.write(`${HELP}\n`)
} else {
  stopOnSignals()
  try {
    process.exitCode = await main()
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 2
  } finally {
    await owned.disposeAsync()
  }
}
