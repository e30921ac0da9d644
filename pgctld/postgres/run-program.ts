// Runs one of Postgres's short programs to its end, as Postgres's user, keeping what it printed.
import { timer } from '../../shared/time/clock.ts'
import { spawnIdentity, type RunAs } from './run-as.ts'

/** How a program is run. `stdin` is written whole and then closed. */
export interface ProgramOptions {
  readonly runAs: RunAs
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  readonly timeoutMs: number
  readonly stdin?: string
  readonly signal?: AbortSignal
}

/** What a program printed, each stream cut to its last OUTPUT_CHARS_MAX characters. */
export interface ProgramResult {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
  /** True when it was killed because `timeoutMs` had passed or `signal` was aborted. */
  readonly killed: boolean
}

const OUTPUT_CHARS_MAX = 64 * 1024

/** The untranslated, predictable environment of every Postgres program. */
export const BASE_ENV = { LC_ALL: 'C', TZ: 'UTC', PATH: '/usr/local/bin:/usr/bin:/bin' } as const

/**
 * Runs `argv` until it ends; kills it (SIGKILL) at `timeoutMs` or on abort. Its exit code is the
 * caller's to judge.
 * @throws the system's error when it cannot be started at all.
 */
export async function runProgram(
  argv: readonly string[],
  options: ProgramOptions,
): Promise<ProgramResult> {
  const child = Bun.spawn([...argv], {
    cwd: options.cwd,
    env: { ...BASE_ENV, ...options.env },
    stdin: options.stdin === undefined ? 'ignore' : new Blob([options.stdin]),
    stdout: 'pipe',
    stderr: 'pipe',
    ...spawnIdentity(options.runAs),
  })
  let killed = false
  const kill = () => {
    killed = true
    child.kill('SIGKILL')
  }
  using _deadline = timer(options.timeoutMs, kill)
  options.signal?.addEventListener('abort', kill)
  try {
    if (options.signal?.aborted === true) kill()
    const [stdout, stderr, exitCode] = await Promise.all([
      lastOf(child.stdout),
      lastOf(child.stderr),
      child.exited,
    ])
    return { exitCode, stdout, stderr, killed }
  } finally {
    options.signal?.removeEventListener('abort', kill)
  }
}

async function lastOf(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of stream) {
    text = (text + decoder.decode(chunk, { stream: true })).slice(-OUTPUT_CHARS_MAX)
  }
  return text
}
