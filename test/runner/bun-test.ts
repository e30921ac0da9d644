import type { Phase } from './plan.ts'
import { SummaryReader, type Tally } from './tally.ts'

const KILL_MS = 5000
const LAST_LINES_MS = 1000

/** How one `bun test` is run. */
export interface PhaseOptions {
  root: string
  seed: number
  env: Record<string, string | undefined>
  /** Where the pid of `bun test` stands while it runs. */
  children: Set<number>
  stop: AbortSignal
  print: (line: string) => void
}

/**
 * Runs the files of a phase and shows one line a file; what fails is shown in full, with whatever
 * the tests printed.
 */
export async function runPhase(phase: Phase, options: PhaseOptions): Promise<Tally> {
  const { root, seed, env, children, stop, print } = options
  const parallel = phase.workers > 1 ? [`--parallel=${phase.workers}`] : []
  const child = Bun.spawn(
    [
      process.execPath,
      'test',
      `--timeout=${phase.timeoutMs}`,
      ...(phase.shuffled ? ['--randomize', `--seed=${seed}`] : []),
      ...parallel,
      ...phase.files.map((file) => `./${file}`),
    ],
    { cwd: root, env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
  )
  children.add(child.pid)
  const kill = (): void => {
    child.kill('SIGTERM') // bun names what it was running
    setTimeout(() => child.kill('SIGKILL'), KILL_MS).unref()
  }
  const limit = setTimeout(() => {
    const what = phase.name === 'long' ? phase.files.join(', ') : phase.name
    print(`${what}: not done after ${phase.limitMs / 60_000} minutes`)
    kill()
  }, phase.limitMs)
  stop.addEventListener('abort', kill)
  const summary = new SummaryReader()
  const files = new FileLines(phase, print)
  const results = each(linesOf(child.stderr), (line) => {
    if (!summary.read(line)) files.read(line)
  })
  const printed = each(linesOf(child.stdout), (line) => {
    if (!line.startsWith('bun test v')) print(line)
  })
  const exitCode = await child.exited
  // What a test left running may hold the pipes open; it is dealt with after the tests.
  await Promise.race([Promise.all([results, printed]), Bun.sleep(LAST_LINES_MS)])
  files.end()
  children.delete(child.pid)
  clearTimeout(limit)
  stop.removeEventListener('abort', kill)
  const tally = summary.tally(exitCode, phase.files.length)
  const missing = phase.files.filter((file) => !files.seen.has(file))
  if (missing.length > 0) print(`no test ran in: ${missing.join(', ')}`)
  return tally
}

async function each(lines: AsyncIterable<string>, take: (line: string) => void): Promise<void> {
  for await (const line of lines) take(line)
}

/** Turns the lines about tests that passed into one line a file; lets every other line through. */
class FileLines {
  readonly seen = new Set<string>()
  readonly #known: ReadonlySet<string>
  readonly #workers: number
  readonly #print: (line: string) => void
  readonly #running = new Map<string, { passed: number; ms: number }>() // latest last
  #current = { passed: 0, ms: 0 }

  constructor(phase: Phase, print: (line: string) => void) {
    this.#known = new Set(phase.files)
    this.#workers = phase.workers
    this.#print = print
  }

  read(line: string): void {
    const header = line.endsWith(':') ? line.slice(0, -1) : ''
    const passed = /^\(pass\) .*?(?:\[([\d.]+)ms\])?$/.exec(line)
    if (this.#known.has(header)) this.#continue(header)
    else if (passed !== null) {
      this.#current.passed += 1
      this.#current.ms += Number(passed[1] ?? 0)
    } else if (line !== '') this.#print(line)
  }

  /** Says how the files went that were read last. */
  end(): void {
    for (const file of this.#running.keys()) this.#report(file)
  }

  /** Workers take turns in the output: a file has ended when enough others came after it. */
  #continue(file: string): void {
    this.seen.add(file)
    this.#current = this.#running.get(file) ?? { passed: 0, ms: 0 }
    this.#running.delete(file)
    this.#running.set(file, this.#current)
    const [oldest] = this.#running.keys()
    if (this.#running.size > this.#workers && oldest !== undefined) this.#report(oldest)
  }

  #report(file: string): void {
    const { passed, ms } = this.#running.get(file) ?? { passed: 0, ms: 0 }
    this.#running.delete(file)
    this.#print(`${file}: ${passed} passed in ${(ms / 1000).toFixed(1)} s`)
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
  if (rest !== '') yield rest
}
