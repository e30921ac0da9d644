// The admin console: a database that is none. Whoever connects to it gets PgBouncer's commands, and
// some of ours: about all gateways by the port that they share, which leads to any of them, and
// about this one by its own unix socket.

import { PgError, type Condition } from '../../shared/errors/pg-error.ts'
import { BUILD } from '../../shared/lifecycle/version.ts'
import type { ClientSocket } from '../client/client-socket.ts'
import type { GatewayServer } from '../server.ts'
import { fatal } from '../session/session-errors.ts'
import * as act from './act.ts'
import { mayAdminister } from './admission.ts'
import type { Row, TableName } from './columns.ts'
import type { Command } from './command.ts'
import { ConsoleSession, type CommandRunner, type Outcome } from './console-session.ts'
import { askPeers, failureOf, tellPeers, type Told } from './peers.ts'
import { takePicture, type Picture, type Scope } from './picture.ts'
import { readAction, type Action } from './read-action.ts'
import * as cluster from './show/cluster.ts'
import * as databases from './show/databases.ts'
import { poolRows } from './show/pools.ts'
import * as settings from './show/settings.ts'
import * as sockets from './show/sockets.ts'
import * as stats from './show/stats.ts'
import { Waits } from './waits.ts'

/** What ParameterStatus tells a client of the console. */
export const CONSOLE_PARAMETERS: ReadonlyMap<string, string> = new Map([
  ['server_version', `${BUILD.version}/multigres`],
  ['client_encoding', 'UTF8'],
  ['server_encoding', 'UTF8'],
  ['DateStyle', 'ISO'],
  ['TimeZone', 'GMT'],
  ['standard_conforming_strings', 'on'],
  ['is_superuser', 'on'],
  ['integer_datetimes', 'on'],
])

/** Administrators at a time. They have places of their own: a full gateway can be looked at. */
const SESSIONS_MAX = 100

/** A client that wants in, and has proven who it is. */
export type Administrator = {
  readonly socket: ClientSocket
  readonly user: string
  readonly client: string
  /** Whether it speaks to this gateway alone: it came in by this one's own socket. */
  readonly scope: Scope
  readonly number: number
  readonly cancelKey: Buffer
  readonly role: Parameters<typeof mayAdminister>[1]
}

export class Console implements CommandRunner, Disposable {
  readonly #server: GatewayServer
  readonly #token: string | undefined
  readonly #waits: Waits
  readonly #stats: stats.Stats
  readonly #sessions = new Set<ConsoleSession>()

  constructor(server: GatewayServer, token: string | undefined) {
    this.#server = server
    this.#token = token
    this.#waits = new Waits(server, token)
    const periodMs = (): number => server.limits.statsPeriodMs
    this.#stats = new stats.Stats(server.traffic, periodMs, () => this.#waits.take())
  }

  /** Sessions of the console. */
  get sessions(): ReadonlySet<ConsoleSession> {
    return this.#sessions
  }

  /** Traffic by database, for the consoles of other gateways. */
  samples(): stats.SamplesView {
    const { present, older, newer } = this.#stats.samples()
    const view = ({ atMs, figures }: typeof present) => {
      return { atMs, figures: Object.fromEntries(figures) }
    }
    return { present: view(present), older: view(older), newer: view(newer) }
  }

  /** Lets an administrator in. @throws PgError, FATAL, for anybody else. */
  open({ role, ...who }: Administrator): ConsoleSession {
    const admin = mayAdminister(who.user, role, this.#server.limits)
    if (this.#sessions.size >= SESSIONS_MAX) {
      throw fatal('too_many_connections', 'too many clients of the admin console')
    }
    const session = new ConsoleSession({ runner: this, admin, ...who })
    this.#sessions.add(session)
    this.#server.sessions.addOther(session)
    return session
  }

  [Symbol.dispose](): void {
    this.#stats[Symbol.dispose]()
    const why = 'terminating connection due to administrator command'
    for (const session of this.#sessions) {
      session.terminate(fatal('admin_shutdown', why))
    }
  }

  // CommandRunner ---------------------------------------------------------------------------------

  left(session: ConsoleSession): void {
    this.#sessions.delete(session)
    this.#server.sessions.removeOther(session)
  }

  bug(error: unknown): void {
    this.#server.log.error('console session ended by a bug', { error })
  }

  async run(command: Command, session: ConsoleSession): Promise<Outcome> {
    if (command.verb === 'SHOW') return await this.#show(command.table, session)
    if (command.verb === 'NOTHING') return { tag: command.tag }
    if (!session.admin) {
      throw new PgError('insufficient_privilege', `${command.verb}: only an administrator may`)
    }
    return await this.#act(command, session)
  }

  async #show(table: TableName | 'HELP', session: ConsoleSession): Promise<Outcome> {
    if (table === 'HELP') {
      session.notice('Console usage', settings.HELP)
      return { tag: 'SHOW' }
    }
    const show = SHOWN[table]
    if ('now' in show) return { tag: 'SHOW', rows: show.now(this.#server) }
    if ('counted' in show) {
      return { tag: 'SHOW', rows: show.counted(await this.#samples(session)) }
    }
    const picture = await takePicture(this.#server, this.#token, session.scope)
    for (const missing of picture.missing) {
      session.notice('a pooler did not answer: its backends are missing', missing)
    }
    tellSilent(picture.silent, session)
    return { tag: 'SHOW', rows: show.seen(picture, this.#server) }
  }

  async #samples(session: ConsoleSession): Promise<ReturnType<stats.Stats['samples']>> {
    await this.#waits.take()
    if (session.scope === 'own') return this.#stats.samples()
    const { views, missing } = await askPeers<stats.SamplesView>(
      this.#server,
      'traffic',
      this.#token,
    )
    tellSilent(missing, session)
    return this.#stats.samples(views)
  }

  async #act(command: Action, session: ConsoleSession): Promise<Outcome> {
    const { verb } = command
    if (MUST_EXIST.has(verb) && 'database' in command) {
      await this.#mustExist(command.database, session.user)
    }
    const here = (): Promise<void> => this.#actHere(command, session)
    if (session.scope === 'own' || OF_ONE.has(verb)) await here()
    else await this.#everywhere(command, session, here)
    return { tag: verb }
  }

  /**
   * At all gateways at once. A PAUSE that fails at one is taken back at those where it had not;
   * what changes nothing at some, since it was so already, is done when it was done at one.
   */
  async #everywhere(
    command: Action,
    session: ConsoleSession,
    here: () => Promise<void>,
  ): Promise<void> {
    const server = this.#server
    const { signal } = session.stopping
    const tell = (what: Action, until: AbortSignal): Promise<Told[]> =>
      tellPeers(server, what, { token: this.#token, signal: until })
    const [own, others] = await Promise.all([told(server.limits.id, here), tell(command, signal)])
    const all = [own, ...others]
    for (const { gateway, notices } of others) {
      for (const notice of notices) session.notice(`${gateway}: ${notice}`)
    }
    const done = all.filter(({ error }) => error === undefined)
    const same = SAME_ALREADY[command.verb]
    const failed = all.filter(({ error }) => error !== undefined && error.condition !== same)
    if (failed.length === 0 && done.length > 0) return
    if (command.verb === 'PAUSE' && done.length > 0) {
      const undo = { verb: 'RESUME', database: command.database } as const
      const never = new AbortController().signal
      await Promise.all([
        told(server.limits.id, () => this.#actHere(undo, session)),
        tell(undo, never),
      ])
    }
    throw failureOf(failed.length > 0 ? failed : all)
  }

  /** For the console of another gateway: POST /actions/console. */
  async actFor(command: unknown, signal: AbortSignal): Promise<Omit<Told, 'gateway'>> {
    const notices: string[] = []
    const stopping = { signal }
    const notice = (message: string): void => void notices.push(message)
    const end = await told('', () => this.#actHere(readAction(command), { stopping, notice }))
    return { ...end, notices }
  }

  async #actHere(command: Action, asker: Asker): Promise<void> {
    const server = this.#server
    const { signal } = asker.stopping
    switch (command.verb) {
      case 'PAUSE':
        return await act.pause(server, command.database, {
          signal,
          tell: (message) => asker.notice(message),
        })
      case 'RESUME':
        return act.resume(server, command.database)
      case 'KILL':
        return act.kill(server, command.database)
      case 'KILL_CLIENT':
        return act.killClient(server, command.session)
      case 'DISABLE':
        return act.disable(server, command.database)
      case 'ENABLE':
        return act.enable(server, command.database)
      case 'RELOAD':
        for (const message of act.reload(server)) asker.notice(message)
        return
      case 'SET':
        return act.set(server, command.name, command.value)
      case 'RECONNECT':
        return act.reconnect(server, command.database)
      case 'WAIT_CLOSE': {
        const { database } = command
        return await act.waitClose(server, { database, token: this.#token, signal })
      }
      case 'SHUTDOWN':
        return act.shutdown(server, command.wait)
    }
  }

  /** @throws PgError invalid_catalog_name: a slip of the pen would do nothing, and say nothing. */
  async #mustExist(database: string | undefined, user: string): Promise<void> {
    const server = this.#server
    if (database === undefined || server.pauses.holds(database)) return
    for (const [known] of server.traffic.entries()) if (known === database) return
    const question = { user, database, roles: undefined }
    const { databaseFound } = await server.askLeader(question)
    if (!databaseFound) {
      throw new PgError('invalid_catalog_name', `no such database: ${database}`)
    }
  }
}

type Verb = Action['verb']

/** Who is told what happens, and may not want it any more. */
type Asker = {
  readonly stopping: { readonly signal: AbortSignal }
  notice(message: string): void
}

/** Poolers hear of the first two from one gateway; the third would leave nobody to answer. */
const OF_ONE: ReadonlySet<Verb> = new Set(['RECONNECT', 'WAIT_CLOSE', 'SHUTDOWN'])
const MUST_EXIST: ReadonlySet<Verb> = new Set([
  'PAUSE',
  'KILL',
  'DISABLE',
  'RECONNECT',
  'WAIT_CLOSE',
])
/** What a gateway says that had nothing to do. */
const SAME_ALREADY: Partial<Record<Verb, Condition>> = {
  PAUSE: 'object_not_in_prerequisite_state',
  RESUME: 'object_not_in_prerequisite_state',
  KILL_CLIENT: 'undefined_object',
}

/** How `action` ended. A bug is no end. */
async function told(gateway: string, action: () => Promise<void>): Promise<Told> {
  try {
    await action()
    return { gateway, notices: [] }
  } catch (error) {
    if (!(error instanceof PgError)) throw error
    const { condition, message } = error
    return { gateway, notices: [], error: { condition, message } }
  }
}

function tellSilent(missing: readonly string[], session: ConsoleSession): void {
  for (const gateway of missing) {
    session.notice('a gateway did not answer: its clients are missing', gateway)
  }
}

/** How a table is made: from what the gateway has at hand, or from what the others say. */
type Shown =
  | { now(server: GatewayServer): Row[] }
  | { counted(samples: ReturnType<stats.Stats['samples']>): Row[] }
  | { seen(picture: Picture, server: GatewayServer): Row[] }

const SHOWN: Readonly<Record<TableName, Shown>> = {
  POOLS: { seen: (picture) => poolRows(picture) },
  CLIENTS: { seen: (picture) => sockets.clientRows(picture) },
  SERVERS: { seen: (picture) => sockets.serverRows(picture) },
  SOCKETS: { seen: (picture) => sockets.socketRows(picture) },
  ACTIVE_SOCKETS: {
    seen: (picture) => sockets.activeSocketRows(picture),
  },
  STATS: { counted: stats.statsRows },
  STATS_TOTALS: { counted: stats.totalRows },
  STATS_AVERAGES: { counted: stats.averageRows },
  TOTALS: { counted: stats.sumRows },
  DATABASES: { seen: (picture, server) => databases.databaseRows(server, picture) },
  USERS: { seen: (picture, server) => databases.userRows(server, picture) },
  LISTS: { seen: (picture, server) => databases.listRows(server, picture) },
  CONFIG: { now: (server) => settings.configRows(server.settings()) },
  VERSION: { now: () => [{ version: settings.versionText() }] },
  MEM: { seen: (picture, server) => settings.memoryRows(server, picture) },
  DNS_HOSTS: { now: () => [] },
  DNS_ZONES: { now: () => [] },
  STATE: { now: (server) => settings.stateRows(server) },
  PEERS: { now: (server) => cluster.peerRows(server) },
  PEER_POOLS: { now: () => [] },
  SHARDS: { now: (server) => cluster.shardRows(server) },
  POOLERS: { now: (server) => cluster.poolerRows(server) },
  LEADERS: { now: (server) => cluster.leaderRows(server) },
  PINS: { seen: (picture) => cluster.pinRows(picture) },
  GATEWAYS: { now: (server) => cluster.gatewayRows(server) },
}
