// A real cluster for a test: bin/multigres in the foreground, as a child, in a folder of its own,
// on free ports. When it is disposed everything is stopped, removed, and shown to be gone.
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { statusOf } from '../../cli/commands/status.ts'
import type { StartView } from '../../cli/local/describe.ts'
import type { StatusView } from '../../cli/local/cluster-status.ts'
import { clusterPaths } from '../../cli/local/cluster-dir.ts'
import { postgresProcesses } from '../../cli/local/postgres-processes.ts'
import { removeCluster } from '../../cli/local/remove.ts'
import { readState } from '../../cli/local/state.ts'
import { findAgain, type ProcessName } from '../../pgctld/postgres/process.ts'
import { until } from './until.ts'

/** How the cluster is started; what is left out is `cluster start`'s own default. */
export interface ClusterOptions {
  poolers?: number
  cells?: number
  gateways?: number
  orchs?: number
  topology?: string
  postgres?: string
  durability?: string
  tls?: string
  /** `SERVICE.KEY=VALUE`. */
  set?: readonly string[]
  /** Further flags. */
  args?: readonly string[]
  /** Besides the present environment. */
  env?: Record<string, string>
  /** A folder of the caller's, which is neither made nor removed. */
  dir?: string
}

/** What a finished command said. */
export interface CommandResult {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** A running cluster. */
export interface Cluster extends AsyncDisposable {
  readonly dir: string
  /** User, password and database `postgres`, through the gateways' port. */
  readonly url: string
  /** The first gateway. */
  readonly gateway: StartView['gateways'][number]
  /** What `start --json` printed. */
  readonly started: StartView
  /** What `cluster status --json` prints. */
  status(): Promise<StatusView>
  /** Every process there is now: supervisor, services, postmasters. */
  processes(): ProcessName[]
  /** Ctrl-C, and the data stays. Resolves to what was said on stderr when nothing is left. */
  stop(): Promise<string>
}

const MULTIGRES = join(import.meta.dir, '..', '..', 'bin', 'multigres')
const START_TIMEOUT = '120s'
const GONE_DEADLINE_MS = 30_000
/** Each asks every pooler and orchestrator. */
const STATUS_EVERY_MS = 100

/** Runs `bin/multigres` to its end. */
export async function multigres(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<CommandResult> {
  const child = Bun.spawn(['node', MULTIGRES, ...args], {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    env: { ...process.env, ...env },
  })
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { exitCode, stdout, stderr }
}

/**
 * Starts `bin/multigres` with a pipe as stdin that ends with this process: a test that is killed
 * leaves no cluster behind.
 */
export function spawnMultigres(args: readonly string[], env: Record<string, string> = {}) {
  return Bun.spawn(['node', MULTIGRES, ...args], {
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'pipe',
    env: { ...process.env, ...env, MULTIGRES_SUPERVISED: '1' },
  })
}

/** Starts a cluster that serves. @throws Error with what it said, and nothing is left. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const base = options.dir === undefined ? makeBase() : undefined
  const dir = options.dir ?? join(base ?? '', 'c')
  const child = spawnMultigres(['cluster', 'start', ...flagsOf(dir, options)], options.env)
  const said = new Response(child.stderr).text()
  const line = await firstLine(child.stdout)
  if (line === undefined) {
    const text = await said
    await child.exited
    removeAll(dir, base)
    throw new Error(`cluster start ended with ${child.exitCode}: ${text}`)
  }
  const started = JSON.parse(line) as StartView
  const [gateway] = started.gateways
  if (gateway === undefined) throw new Error('a cluster without a gateway')

  const status = (): Promise<StatusView> => statusIn(dir)
  const processes = (): ProcessName[] => [...recordedProcesses(dir), ...postgresOf(dir)]
  const stop = async (): Promise<string> => {
    if (child.exitCode !== null) return await said
    const all = processes()
    child.kill('SIGINT')
    const [text, exitCode] = await Promise.all([said, child.exited])
    if (exitCode !== 0) throw new Error(`cluster start ended with ${exitCode}: ${text}`)
    await untilGone(all)
    return text
  }
  const dispose = async (): Promise<void> => {
    try {
      await stop()
    } finally {
      removeAll(dir, base)
    }
  }
  const { url } = started
  return { dir, url, gateway, started, status, processes, stop, [Symbol.asyncDispose]: dispose }
}

/**
 * What `cluster status --json` prints of the cluster in `dir`, asked in this process: tests ask
 * again and again, and each start of a command costs a core for a moment.
 */
export async function statusIn(dir: string): Promise<StatusView> {
  const waitMs = statusAtMs + STATUS_EVERY_MS - performance.now()
  if (waitMs > 0) await Bun.sleep(waitMs)
  statusAtMs = performance.now()
  return (await statusOf(dir)).view
}

let statusAtMs = -Infinity

/** Resolves when none of `processes` lives. @throws Error naming those that do. */
export async function untilGone(processes: readonly ProcessName[]): Promise<void> {
  const left = () => processes.flatMap((process) => findAgain(process) ?? [])
  await until(() => left().length === 0, {
    deadlineMs: GONE_DEADLINE_MS,
    what: `processes ${processes.map(({ pid }) => pid).join(', ')} are gone`,
  }).catch((error: unknown) => {
    const names = left().map(({ pid, command }) => `${command} (${pid})`)
    throw new Error(`still alive: ${names.join(', ')}`, { cause: error })
  })
}

/** What state.json has: the supervisor and its children. */
export function recordedProcesses(dir: string): ProcessName[] {
  const state = readState(clusterPaths(dir).state)
  return state === undefined ? [] : [state.supervisor, ...state.processes]
}

/** Every process of every Postgres of the cluster. */
export function postgresOf(dir: string): ProcessName[] {
  const state = readState(clusterPaths(dir).state)
  return state === undefined ? [] : postgresProcesses(state.plan)
}

function flagsOf(dir: string, options: ClusterOptions): string[] {
  const { set = [], args = [], env: _env, dir: _dir, ...named } = options
  const flags = Object.entries(named).map(([name, value]) => `--${name}=${value}`)
  const sets = set.map((text) => `--set=${text}`)
  const common = ['--json', `--dir=${dir}`, `--start-timeout=${START_TIMEOUT}`]
  const port = args.some((flag) => flag.startsWith('--port')) ? [] : ['--port=0']
  return [...common, ...port, ...flags, ...sets, ...args]
}

/** The first line of a stream that goes on; undefined when it ends before. */
async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string | undefined> {
  const reader = stream.getReader()
  const decoder = new TextDecoder()
  let text = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return undefined
    text += decoder.decode(value, { stream: true })
    const end = text.indexOf('\n')
    if (end >= 0) return text.slice(0, end)
  }
}

/** Open to pass through: as root, Postgres's user must reach its data. */
function makeBase(): string {
  const base = mkdtempSync(join(tmpdir(), 'mg-'))
  chmodSync(base, 0o755)
  return base
}

function removeAll(dir: string, base: string | undefined): void {
  if (base === undefined) return
  // What `stop --clean` does, without a process that loads it: this runs after every test file.
  removeCluster(dir)
  rmSync(base, { recursive: true, force: true })
}
