// `npm test`: runs every test file, says how it goes, and closes with `N passed, N failed`.
// Processes that tests leave running count as a failure, and are ended.
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { isSupervised } from '../shared/lifecycle/supervised.ts'
import { runPhase } from './runner/bun-test.ts'
import { findLeftovers, Subreaper } from './runner/leftovers.ts'
import { findTestFiles, planPhases, readRequest, type Request } from './runner/plan.ts'
import { closingLine, NO_TESTS, sum, type Tally } from './runner/tally.ts'

const ROOT = join(import.meta.dir, '..')
const REAP_EVERY_MS = 500
const LEFTOVER_WAIT_MS = 3000 // what a service needs to notice that its test is gone
const print = (line: string): void => void process.stdout.write(`${line}\n`)

async function main(argv: readonly string[]): Promise<number> {
  const request = readRequest(argv, Math.random())
  const phases = planPhases(findTestFiles(ROOT), request, availableParallelism())
  if (phases.length === 0) throw new Error('no test file has that in its path')
  const env = environment(request)
  const children = new Set<number>()
  const subreaper = new Subreaper()
  setInterval(() => subreaper.reap(children), REAP_EVERY_MS).unref()
  const stop = new AbortController()
  listenForStop(stop)
  let tally = NO_TESTS
  for (const phase of phases) {
    if (stop.signal.aborted) break
    const what = phase.files.length === 1 ? phase.files[0] : `${phase.files.length} files`
    print(`== ${phase.name}: ${what}, ${phase.workers} at a time`)
    const options = { root: ROOT, seed: request.seed, env, children, stop: stop.signal, print }
    const began = performance.now()
    tally = sum(tally, await runPhase(phase, options))
    print(`== ${phase.name}: ${Math.round((performance.now() - began) / 1000)} s`)
  }
  tally = sum(tally, await endLeftovers())
  if (stop.signal.aborted) tally = { ...tally, failed: Math.max(1, tally.failed) }
  print(`seed ${request.seed}: npm test -- --seed ${request.seed}`)
  print(closingLine(tally))
  return tally.failed === 0 ? 0 : 1
}

/** What the tests see: ours, without what ties this process to whoever started it. */
function environment({ long }: Request): Record<string, string | undefined> {
  const env: Record<string, string | undefined> = { ...process.env }
  delete env['MULTIGRES_SUPERVISED']
  env['NO_COLOR'] = '1' // the runner reads the lines
  if (long !== 'no') env['FUZZ_SECONDS'] ??= '60'
  return env
}

/** A signal, or the end of the one who started us (its pipe to us closes), ends the tests. */
function listenForStop(stop: AbortController): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => stop.abort())
  }
  if (!isSupervised(process.env)) return
  process.stdin.once('end', () => stop.abort())
  process.stdin.resume()
  process.stdin.unref()
}

/** Ends what the tests left running. One failure when there was anything. */
async function endLeftovers(): Promise<Tally> {
  const deadline = performance.now() + LEFTOVER_WAIT_MS
  while (findLeftovers().length > 0 && performance.now() < deadline) await Bun.sleep(100)
  const found = findLeftovers()
  if (found.length === 0) return NO_TESTS
  print('left running by the tests:')
  for (const { pid, command } of found) print(`  ${pid} ${command.slice(0, 150)}`)
  const enough = performance.now() + LEFTOVER_WAIT_MS
  for (let left = found; left.length > 0 && performance.now() < enough; left = findLeftovers()) {
    for (const { pid } of left) kill(pid)
    await Bun.sleep(100)
  }
  return { ...NO_TESTS, failed: 1 }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  print(`${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 2
}
