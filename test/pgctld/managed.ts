// One Postgres under pgctld's own hands, in this process, for the tests of what it does with it.
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cloneFrom } from '../../pgctld/clone/clone.ts'
import { SYSTEM_ROLE } from '../../pgctld/conf/hba.ts'
import { ask } from '../../pgctld/postgres/ask.ts'
import { processesOf } from '../../pgctld/postgres/find-postmaster.ts'
import type { ProcessView } from '../../pgctld/postgres/process.ts'
import { ManagedPostgres } from '../../pgctld/postgres/managed-postgres.ts'
import { socketOf, type PostgresOptions } from '../../pgctld/postgres/postgres-options.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { freePort } from '../support/ports.ts'
import {
  availableKinds,
  testInstallation,
  testRunAs,
  type PostgresKind,
} from '../support/postgres.ts'

/** Both Postgres that every machine of ours can have. */
export const KINDS = await availableKinds(['embedded', 'system'] as const)

/** All majors that can be had. */
export const ALL_KINDS = [...KINDS, ...(await availableKinds([14, 16, 17] as const))]

/** What the pooler would have init run, as far as these tests need it. */
export const INIT_SQL = [
  `CREATE ROLE ${SYSTEM_ROLE} SUPERUSER LOGIN`,
  `CREATE ROLE multigres_replication LOGIN REPLICATION PASSWORD 'repl:pass\\word'`,
  'CREATE TABLE t (a int)',
]
export const REPLICATION_PASSWORD = 'repl:pass\\word'
export const SUPERUSER_PASSWORD = 'a superuser'
export const START_MS = 20_000
export const FAST = { mode: 'fast', timeoutMs: 10_000 } as const

/** For those that a test which ran out of time has not disposed: Postgres would outlive us. */
const alive = new Set<Member>()

/** One member; disposing stops it and removes its folder. */
export class Member implements AsyncDisposable {
  readonly base: string
  postgres: ManagedPostgres

  private constructor(base: string, options: PostgresOptions) {
    this.base = base
    alive.add(this)
    this.postgres = new ManagedPostgres(options)
  }

  /** A member without a data directory. */
  static async create(
    kind: PostgresKind = 'embedded',
    changes: Partial<PostgresOptions> = {},
  ): Promise<Member> {
    const base = changes.dataDir ?? mkdtempSync(join(tmpdir(), 'mg-ctl-'))
    chmodSync(base, 0o755)
    return new Member(base, {
      id: 'zone1_pooler1',
      socketDir: join(base, 'socket'),
      port: await freePort(),
      listen: '127.0.0.1',
      logFile: join(base, 'postgres.log'),
      installation: await testInstallation(kind),
      runAs: testRunAs(),
      settings: { shared_buffers: '16MB', max_connections: '30' },
      superuserPassword: () => SUPERUSER_PASSWORD,
      replicationPassword: () => REPLICATION_PASSWORD,
      log: nullLogger,
      ...changes,
      dataDir: join(base, 'pgdata'),
    })
  }

  /** A member with an initialised data directory, a copy of one made once. */
  static async initialised(
    kind: PostgresKind = 'embedded',
    changes: Partial<PostgresOptions> = {},
  ): Promise<Member> {
    const member = await Member.create(kind, changes)
    const template = await templateOf(kind)
    const copy = Bun.spawn(['cp', '-a', template, member.dataDir], { stderr: 'inherit' })
    if ((await copy.exited) !== 0) throw new Error(`cannot copy ${template}`)
    return member
  }

  get dataDir(): string {
    return this.postgres.options.dataDir
  }

  /** Every process of its Postgres. */
  get processes(): ProcessView[] {
    return processesOf(this.dataDir, this.postgres.options.runAs)
  }

  get status() {
    return this.postgres.status()
  }

  /** What the member's parent folder holds. */
  get around(): string[] {
    return readdirSync(this.base).toSorted()
  }

  start(settings: Record<string, string> = {}): Promise<void> {
    return this.postgres.start(settings, START_MS)
  }

  stop(): Promise<void> {
    return this.postgres.stop(FAST)
  }

  /** One statement as superuser over the socket; rows of texts. @throws Error with what it said. */
  async sql(sql: string): Promise<(string | null)[][]> {
    const answer = await ask({
      socket: socketOf(this.postgres.options),
      user: 'postgres',
      sql,
      timeoutMs: 10_000,
    })
    if (answer.kind === 'rows') return answer.rows
    throw new Error(answer.kind === 'refused' ? answer.message : answer.kind)
  }

  /** primary_conninfo that makes this member follow `leader`. */
  following(leader: Member): Record<string, string> {
    const { port } = leader.postgres.options
    const { id } = this.postgres.options
    const conninfo = `host=127.0.0.1 port=${port} user=multigres_replication`
    const more = `passfile=${this.status.passfile} application_name=${id} connect_timeout=5`
    return { primary_conninfo: `${conninfo} ${more}` }
  }

  /** Clones from a port; the phases that were reported. */
  async clone(
    from: { port: number; host?: string; signal?: AbortSignal; replace?: boolean },
    settings: Record<string, string> = {},
  ): Promise<string[]> {
    const signal = from.signal ?? new AbortController().signal
    const { host = '127.0.0.1', port, replace = false } = from
    const request = { host, port, applicationName: 'cloning', settings, replace }
    const phases = new Set<string>()
    for await (const progress of cloneFrom(this.postgres, request, signal)) {
      phases.add(progress.phase)
    }
    return [...phases]
  }

  /** Lets go of Postgres without stopping it and looks at it anew, as a successor would. */
  succeed(): ManagedPostgres {
    this.postgres[Symbol.dispose]()
    this.postgres = new ManagedPostgres(this.postgres.options)
    return this.postgres
  }

  async [Symbol.asyncDispose](): Promise<void> {
    alive.delete(this)
    await this.postgres.stop({ mode: 'immediate', timeoutMs: 5000 }).catch(() => undefined)
    this.postgres[Symbol.dispose]()
    rmSync(this.base, { recursive: true, force: true })
  }
}

const templates = new Map<PostgresKind, Promise<string>>()
const made: string[] = []

function templateOf(kind: PostgresKind): Promise<string> {
  let template = templates.get(kind)
  if (template === undefined) {
    template = (async () => {
      const member = await Member.create(kind)
      made.push(member.base)
      await member.postgres.init(INIT_SQL)
      return member.dataDir
    })()
    templates.set(kind, template)
  }
  return template
}

/** Ends what is left and removes the templates. For `afterAll`. */
export async function cleanUp(): Promise<void> {
  for (const member of alive) await member[Symbol.asyncDispose]()
  for (const base of made) rmSync(base, { recursive: true, force: true })
  made.length = 0
  templates.clear()
}
