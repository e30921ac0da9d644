// The admin console: a database that is none. Whoever connects to it gets PgBouncer's commands
// about this gateway, and some of ours.

import { PgError } from '../../shared/errors/pg-error.ts'
import { BUILD } from '../../shared/lifecycle/version.ts'
import type { ClientSocket } from '../client/client-socket.ts'
import type { GatewayServer } from '../server.ts'
import { fatal } from '../session/session-errors.ts'
import * as act from './act.ts'
import { mayAdminister } from './admission.ts'
import type { Row, TableName } from './columns.ts'
import type { Command } from './command.ts'
import { ConsoleSession, type CommandRunner, type Outcome } from './console-session.ts'
import { takePicture, type Picture } from './picture.ts'
import * as cluster from './show/cluster.ts'
import * as databases from './show/databases.ts'
import { poolRows } from './show/pools.ts'
import * as settings from './show/settings.ts'
import * as sockets from './show/sockets.ts'
import { Stats } from './show/stats.ts'
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
  readonly number: number
  readonly cancelKey: Buffer
  readonly role: Parameters<typeof mayAdminister>[1]
}

export class Console implements CommandRunner, Disposable {
  readonly #server: GatewayServer
  readonly #token: string | undefined
  readonly #waits: Waits
  readonly #stats: Stats
  readonly #sessions = new Set<ConsoleSession>()

  constructor(server: GatewayServer, token: string | undefined) {
    this.#server = server
    this.#token = token
    this.#waits = new Waits(server, token)
    const periodMs = (): number => server.limits.statsPeriodMs
    this.#stats = new Stats(server.traffic, periodMs, () => this.#waits.take())
  }

  /** Sessions of the console. */
  get size(): number {
    return this.#sessions.size
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
    if ('counted' in show) {
      await this.#waits.take()
      return { tag: 'SHOW', rows: show.counted(this.#stats) }
    }
    if ('now' in show) return { tag: 'SHOW', rows: show.now(this.#server) }
    const picture = await takePicture(this.#server, this.#token)
    for (const missing of picture.missing) {
      session.notice('a pooler did not answer: its backends are missing', missing)
    }
    return { tag: 'SHOW', rows: show.seen(picture, this.#server, this.#sessions) }
  }

  async #act(command: Exclude<Command, { verb: 'SHOW' | 'NOTHING' }>, session: ConsoleSession) {
    const server = this.#server
    const { signal } = session.stopping
    switch (command.verb) {
      case 'PAUSE':
        await this.#mustExist(command.database, session.user)
        await act.pause(server, command.database, {
          signal,
          tell: (message) => session.notice(message),
        })
        break
      case 'RESUME':
        act.resume(server, command.database)
        break
      case 'KILL':
        await this.#mustExist(command.database, session.user)
        act.kill(server, command.database)
        break
      case 'KILL_CLIENT':
        act.killClient(server, command.session)
        break
      case 'DISABLE':
        await this.#mustExist(command.database, session.user)
        act.disable(server, command.database)
        break
      case 'ENABLE':
        act.enable(server, command.database)
        break
      case 'RELOAD':
        for (const message of act.reload(server)) session.notice(message)
        break
      case 'SET':
        act.set(server, command.name, command.value)
        break
      case 'RECONNECT':
        await this.#mustExist(command.database, session.user)
        act.reconnect(server, command.database)
        break
      case 'WAIT_CLOSE':
        await this.#mustExist(command.database, session.user)
        await act.waitClose(server, { database: command.database, token: this.#token, signal })
        break
      case 'SHUTDOWN':
        act.shutdown(server, command.wait)
        break
    }
    return { tag: command.verb }
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

type Consoles = Iterable<ConsoleSession>
/** How a table is made: from what the gateway has at hand, or from what the poolers say. */
type Shown =
  | { now(server: GatewayServer): Row[] }
  | { counted(stats: Stats): Row[] }
  | { seen(picture: Picture, server: GatewayServer, consoles: Consoles): Row[] }

const SHOWN: Readonly<Record<TableName, Shown>> = {
  POOLS: { seen: (picture, _server, consoles) => poolRows(picture, consoles) },
  CLIENTS: { seen: (picture, _server, consoles) => sockets.clientRows(picture, consoles) },
  SERVERS: { seen: (picture) => sockets.serverRows(picture) },
  SOCKETS: { seen: (picture, _server, consoles) => sockets.socketRows(picture, consoles) },
  ACTIVE_SOCKETS: {
    seen: (picture, _server, consoles) => sockets.activeSocketRows(picture, consoles),
  },
  STATS: { counted: (stats) => stats.rows() },
  STATS_TOTALS: { counted: (stats) => stats.totalRows() },
  STATS_AVERAGES: { counted: (stats) => stats.averageRows() },
  TOTALS: { counted: (stats) => stats.sumRows() },
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
