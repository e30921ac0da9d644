// pgctld as a process, for the tests of the service and of the command line.
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { processesOf } from '../../pgctld/postgres/find-postmaster.ts'
import { killAll } from '../../pgctld/postgres/orphans.ts'
import type { RunAs } from '../../pgctld/postgres/run-as.ts'
import { testRunAs } from '../support/postgres.ts'
import { freePort } from '../support/ports.ts'
import { until } from '../support/until.ts'

const MAIN = join(import.meta.dir, '..', '..', 'pgctld', 'main.ts')
const BUN = join(import.meta.dir, '..', '..', 'node_modules', '.bin', 'bun')

/** How a command went. */
export interface Outcome {
  code: number
  stdout: string
  stderr: string
}

/** Which user runs pgctld; `setpriv` makes another than root of us. */
export type User = 'self' | 'nobody' | 'root without CAP_SYS_PTRACE'

/** A folder for one pgctld, with secrets, and its flags. */
export class Site implements AsyncDisposable {
  readonly base: string
  readonly dataDir: string
  readonly token = 'a token'
  readonly postgresPort: number
  readonly httpPort: number
  readonly grpcPort: number
  readonly #user: User
  readonly #binDir: string
  readonly #services: Bun.Subprocess[] = []

  private constructor(base: string, ports: number[], options: { user: User; binDir: string }) {
    this.base = base
    this.dataDir = join(base, 'pgdata')
    const [postgres = 0, http = 0, grpc = 0] = ports
    this.postgresPort = postgres
    this.httpPort = http
    this.grpcPort = grpc
    this.#user = options.user
    this.#binDir = options.binDir
  }

  static async create(options: { user?: User; binDir?: string } = {}): Promise<Site> {
    const { user = 'self', binDir = 'embedded' } = options
    const base = mkdtempSync(join(tmpdir(), 'mg-site-'))
    chmodSync(base, 0o755)
    const ports = [await freePort(), await freePort(), await freePort()]
    const site = new Site(base, ports, { user, binDir })
    const secrets = join(base, 'secrets')
    mkdirSync(secrets, { mode: 0o755 })
    const files = { 'postgres.password': 'one', 'replication.password': 'two', token: site.token }
    for (const [name, text] of Object.entries(files))
      writeFileSync(join(secrets, name), `${text}\n`)
    if (user === 'nobody') chownSync(base, NOBODY.uid, NOBODY.gid)
    return site
  }

  /** The flags that every call has. */
  get flags(): string[] {
    return [
      `--data-dir=${this.dataDir}`,
      `--bin-dir=${this.#binDir}`,
      `--secrets-dir=${join(this.base, 'secrets')}`,
      `--postgres-port=${this.postgresPort}`,
      `--socket-dir=${join(this.base, 'socket')}`,
      `--http-port=${this.httpPort}`,
      `--grpc-port=${this.grpcPort}`,
    ]
  }

  /** Runs a command to its end. */
  async command(verb: string, ...more: string[]): Promise<Outcome> {
    return await outcomeOf(this.#spawn([verb, ...this.flags, ...more], 'ignore'))
  }

  /** `status --json` as an object. */
  async status(): Promise<Record<string, unknown>> {
    const { stdout, stderr } = await this.command('status', '--json')
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout) as Record<string, unknown>
  }

  /** Starts the service; its stdin is a pipe that is ours. */
  service(...more: string[]): Bun.Subprocess<'pipe', 'pipe', 'pipe'> {
    const child = this.#spawn([...this.flags, ...more], 'pipe')
    this.#services.push(child)
    return child as Bun.Subprocess<'pipe', 'pipe', 'pipe'>
  }

  /** Resolves when the service's HTTP says that it is ready. */
  async ready(): Promise<void> {
    const url = `http://127.0.0.1:${this.httpPort}/ready`
    await until(async () => (await fetch(url)).ok, { deadlineMs: 20_000, what: `${url} answers` })
  }

  /** Processes of this Postgres that live. */
  get processes(): number[] {
    return processesOf(this.dataDir, this.#runAs).map((process) => process.pid)
  }

  get #runAs(): RunAs {
    return this.#user === 'nobody' ? { name: 'nobody', ...NOBODY, drop: false } : testRunAs()
  }

  get log(): string {
    return readFileSync(`${this.dataDir}.log`, 'utf8')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const service of this.#services) {
      if (service.exitCode === null) service.kill('SIGKILL')
      await service.exited
    }
    await killAll(this.dataDir, this.#runAs).catch(() => 0) // there may be no data directory
    rmSync(this.base, { recursive: true, force: true })
  }

  #spawn(argv: readonly string[], stdin: 'ignore' | 'pipe'): Bun.Subprocess {
    return Bun.spawn([...BECOME[this.#user], BUN, MAIN, ...argv], {
      cwd: '/',
      env: { ...Bun.env, MULTIGRES_SUPERVISED: '1' },
      stdin,
      stdout: 'pipe',
      stderr: 'pipe',
    })
  }
}

const NOBODY = { uid: 65_534, gid: 65_534 }
const BECOME: Record<User, string[]> = {
  self: [],
  nobody: ['setpriv', `--reuid=${NOBODY.uid}`, `--regid=${NOBODY.gid}`, '--clear-groups'],
  // What root is in a container with the usual capabilities.
  'root without CAP_SYS_PTRACE': ['setpriv', '--bounding-set=-sys_ptrace'],
}

/** The kinds of user that can be tried here: as root also a plain one. */
export const USERS: User[] =
  userInfo().uid === 0 ? ['self', 'nobody', 'root without CAP_SYS_PTRACE'] : ['self']

/** Waits for a process and takes what it printed. */
export async function outcomeOf(child: Bun.Subprocess): Promise<Outcome> {
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout as ReadableStream).text(),
    new Response(child.stderr as ReadableStream).text(),
    child.exited,
  ])
  return { code, stdout, stderr }
}
