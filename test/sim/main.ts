// The simulator as a process of its own: stand-ins for I/O replace modules of the whole process, so
// it shares none with other tests. The one argument is a Job as JSON; the result goes to stdout. The
// story of one seed: bun test/sim/main.ts '{"from":7,"count":1,"tracing":true,"story":true}'.
import { install } from './loader.ts'
import type { Job, JobResult } from './job.ts'

const job = JSON.parse(process.argv[2] ?? '{}') as Job
install(job.edits ?? [])
const { runSeed } = await import('./run.ts')
const outcomes: JobResult['outcomes'] = []
const crashes = new Map<string, number>()
const totals = {
  steps: 0,
  stepsMin: Infinity,
  failovers: 0,
  unchanged: 0,
  failoversMin: Infinity,
  acknowledged: 0,
}
const began = performance.now()
for (let seed = job.from; seed < job.from + job.count; seed += 1) {
  const { faults, tracing = false, script } = job
  const outcome = runSeed(seed, {
    tracing,
    ...(faults === undefined ? {} : { faults }),
    ...(script === undefined ? {} : { script }),
  })
  const { violation, steps, failovers, trace, acknowledged } = outcome
  totals.steps += steps
  totals.stepsMin = Math.min(totals.stepsMin, steps)
  totals.failovers += failovers
  totals.failoversMin = Math.min(totals.failoversMin, failovers)
  totals.unchanged += Number(failovers === 0)
  totals.acknowledged += acknowledged
  for (const [point, hits] of outcome.crashes) crashes.set(point, (crashes.get(point) ?? 0) + hits)
  const told = violation && { rule: violation.rule, message: violation.message }
  if (violation !== undefined || tracing) outcomes.push({ seed, violation: told, trace })
  if (violation !== undefined && violation.rule !== 'quiet ends' && job.untilFound) break
}
const seconds = (performance.now() - began) / 1000
const result: JobResult = { outcomes, totals, crashes: Object.fromEntries(crashes), seconds }
if (job.story === true) tell()
else process.stdout.write(JSON.stringify(result))
process.exitCode = 0

/** For people. */
function tell(): void {
  for (const { trace, violation } of outcomes) {
    for (const line of trace) console.log(line)
    console.log(violation?.message ?? 'no invariant is broken')
  }
}
