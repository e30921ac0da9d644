// The suite as its authors run it: psql and the simple protocol. Every result file is compared.
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { judge, unifiedDiff, type Answer } from './compare.ts'
import { oracleSummary, oracleTable } from './oracle.ts'
import type { Phase } from './phase.ts'
import { runSuite, type RunResult } from './psql-run.ts'
import { addUp, heldBy, type PoolReport, type TestRow } from './report.ts'

/** Runs it twice without the gateway and once for each pool size; a report for each of these. */
export async function psqlPhase(phase: Phase): Promise<PoolReport[]> {
  const { site, groups, out } = phase
  const run = async (name: string, through: boolean, probes = false): Promise<RunResult> => {
    await site.reset()
    phase.progress(`${name}: ${groups.flat().length} tests`)
    const dir = join(site.base, name)
    const result = await runSuite({ ...phase, ...phase.target(through), name, dir, probes })
    cpSync(join(dir, 'results'), join(out.dir, name), { recursive: true })
    return result
  }
  const direct = [await run('direct-1', false), await run('direct-2', false)]
  showDirect(phase, direct)
  if (phase.oracle) showOracle(phase, await run('oracle', false, true))
  const reports: PoolReport[] = []
  for (const pool of phase.pools) {
    await site.start(pool)
    reports.push(await compareAll(phase, direct, await run(`pool-${pool}`, true)))
  }
  return reports
}

function answerOf(result: RunResult, test: string): Answer {
  return { text: result.results.get(test), asExpected: result.asExpected.has(test) }
}

function showDirect({ tests, out }: Phase, direct: readonly RunResult[]): void {
  for (const { name, asExpected, seconds } of direct) {
    const failed = tests.filter((test) => !asExpected.has(test))
    const names = failed.length === 0 ? '' : `; not: ${failed.join(' ')}`
    out.print(`${name}: ${asExpected.size} of ${tests.length} as expected, ${seconds} s${names}\n`)
  }
  const noisy = tests.filter((test) => new Set(direct.map((run) => run.results.get(test))).size > 1)
  out.print(`noise: ${noisy.length === 0 ? 'none' : noisy.join(' ')}\n`)
}

function showOracle({ out }: Phase, { sessions }: RunResult): void {
  const summary = oracleSummary([...sessions.values()].flat())
  out.print(`oracle: ${summary}`)
  out.save('oracle.txt', `${summary}${oracleTable(sessions)}`)
}

async function compareAll(
  { tests, out }: Phase,
  direct: readonly RunResult[],
  result: RunResult,
): Promise<PoolReport> {
  const rows = new Map<string, TestRow>()
  for (const test of tests) {
    const answers = direct.map((run) => answerOf(run, test))
    const verdict = judge(answerOf(result, test), answers)
    const sessions = result.sessions.get(test) ?? []
    rows.set(test, { verdict, figures: addUp(sessions), held: heldBy(sessions) })
    if (verdict === 'same') continue
    const diff = await unifiedDiff(
      { name: `direct/${test}`, text: answers[0]?.text ?? '' },
      { name: `${result.name}/${test}`, text: result.results.get(test) ?? '' },
    )
    out.save(join('differences', result.name, `${test}.diff`), Buffer.from(diff, 'latin1'))
  }
  return { title: `psql, ${result.name}`, seconds: result.seconds, rows }
}
