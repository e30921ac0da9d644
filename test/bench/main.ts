// Goal: what two hops cost beside PgBouncer's one, and beside none.
// Method: one Postgres; every case against it direct, through PgBouncer and through gateway and
// pooler, like for like (same unix socket to Postgres, SCRAM clients over TCP, same pool, logging
// off), interleaved round by round, and compared pair by pair.
import { CASES, selectCases, type Case } from './cases.ts'
import type { TargetKey } from './measure.ts'
import { readOptions } from './options.ts'
import { runPgbench } from './pgbench.ts'
import { report } from './report.ts'
import { openResults, readResults, writeResults, type Results } from './results.ts'
import { startRig, type Rig } from './rig.ts'

const WARM_UP_CLIENTS = 32
const WARM_UP_S = 2

const options = readOptions(Bun.argv.slice(2), CASES, selectCases)
if (options.print !== undefined) {
  console.log(report(readResults(options.print)))
  process.exit(0)
}
// Said to us by whoever started us; the cluster's own processes have another starter.
delete process.env['MULTIGRES_SUPERVISED']

const say = (line: string): void => console.error(line)
const cases = selectCases(options.cases)
await using rig = await startRig(options, say)
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void Promise.resolve(rig[Symbol.asyncDispose]()).finally(() => process.exit(1))
  })
}
const results = openResults(rig, options)
await warmUp(rig)
const prepared = new Set<Case['prepare']>()
for (let round = 0; round < options.rounds; round++) {
  for (const one of cases) {
    if (round === 0 && one.prepare !== undefined && !prepared.has(one.prepare)) {
      prepared.add(one.prepare)
      await one.prepare(rig)
    }
    await measureRound({ rig, results, one, round })
    writeResults(options.out, results)
  }
}
console.log(report(results))

/** A proxy has been up for long when it matters: caches are full, and code is compiled. */
async function warmUp({ pgbench, targets }: Rig): Promise<void> {
  say('warming up')
  for (const key of options.targets) {
    for (const mode of ['simple', 'extended', 'prepared'] as const) {
      const workload = { flags: ['-b', 'select-only'], mode, clients: WARM_UP_CLIENTS }
      await runPgbench(pgbench, targets[key], workload, WARM_UP_S)
    }
  }
}

type Round = { rig: Rig; results: Results; one: Case; round: number }

/** The order turns every round, so that a drift of the machine falls on all alike. */
async function measureRound({ rig, results, one, round }: Round): Promise<void> {
  const keys = one.targets.filter((key) => options.targets.includes(key))
  const result = (results.cases[one.name] ??= {})
  const at = result.ours?.length ?? round
  const said: string[] = []
  for (let i = 0; i < keys.length; i++) {
    const key = keys[(i + at) % keys.length] as TargetKey
    const sample = await one.run(rig, rig.targets[key], options.seconds)
    const samples = (result[key] ??= [])
    samples.push(sample)
    said.push(`${rig.targets[key].name} ${sample.rate.toFixed(0)}`)
  }
  say(`round ${round + 1} of ${options.rounds}: ${one.name}: ${said.join(', ')} ${one.unit}`)
}
