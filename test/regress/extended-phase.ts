// The same statements by Parse, Bind and Execute. Every message of every answer is compared.
import { join } from 'node:path'
import { compareExchanges } from './extended/compare.ts'
import type { Mode } from './extended/exchange.ts'
import { PSQL_OWN, runExtended, type ExtendedResult } from './extended/run.ts'
import type { Phase } from './phase.ts'
import { addUp, heldBy, type PoolReport, type TestRow } from './report.ts'

/** Runs it twice without the gateway and once for each pool size; a report for each of these. */
export async function extendedPhase(phase: Phase, mode: Mode): Promise<PoolReport[]> {
  const { site } = phase
  const run = async (name: string, through: boolean): Promise<ExtendedResult> => {
    await site.reset()
    phase.progress(`${name}: ${phase.groups.flat().length} tests`)
    const dir = join(site.base, 'extended') // the same for all: its name is in messages
    return await runExtended({ ...phase, ...phase.target(through), name, mode, dir })
  }
  const first = await run(`${mode}-direct-1`, false)
  const second = await run(`${mode}-direct-2`, false)
  const reports: PoolReport[] = []
  for (const pool of phase.pools) {
    await site.start(pool)
    reports.push(compareAll(phase, [first, second], await run(`${mode}-pool-${pool}`, true)))
  }
  return reports
}

function compareAll(
  { tests, out }: Phase,
  [first, second]: readonly [ExtendedResult, ExtendedResult],
  result: ExtendedResult,
): PoolReport {
  const rows = new Map<string, TestRow>()
  let [statements, noise, differing] = [0, 0, 0]
  for (const test of tests) {
    const sessions = result.sessions.get(test) ?? []
    const did = { figures: addUp(sessions), held: heldBy(sessions) }
    if (PSQL_OWN.has(test)) {
      rows.set(test, { verdict: 'skipped', ...did })
      continue
    }
    const of = ({ exchanges }: ExtendedResult) => exchanges.get(test) ?? []
    const comparison = compareExchanges([of(first), of(second)], of(result))
    statements += comparison.statements
    noise += comparison.noise
    differing += comparison.differing
    rows.set(test, { verdict: comparison.differing === 0 ? 'same' : 'differs', ...did })
    if (comparison.differing === 0) continue
    out.save(join('differences', result.name, `${test}.txt`), Buffer.from(comparison.text))
  }
  const note = `statements: ${statements}, differing: ${differing}, noise: ${noise}`
  return { title: result.name, seconds: result.seconds, rows, note }
}
