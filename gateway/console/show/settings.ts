// SHOW CONFIG, VERSION, STATE, MEM and HELP.

import { loadConfig } from '../../../shared/config/load.ts'
import type { ConfigEntry } from '../../../shared/config/store.ts'
import { BUILD } from '../../../shared/lifecycle/version.ts'
import { gatewayFields } from '../../config.ts'
import type { GatewayServer } from '../../server.ts'
import type { Row } from '../columns.ts'
import type { Picture } from '../picture.ts'
import { yesNo } from './cluster.ts'

/** PgBouncer's settings that its tools ask for, and ours of the same meaning. */
export const ALIASES: Readonly<Record<string, string>> = {
  max_client_conn: 'clients_max',
  max_user_client_connections: 'clients_per_user_max',
  max_db_client_connections: 'clients_per_database_max',
  max_prepared_statements: 'prepared_statements_max',
  query_wait_timeout: 'pause_timeout',
  client_login_timeout: 'authentication_timeout',
  pkt_buf: 'window',
}

/** SHOW CONFIG: ours by their names, then PgBouncer's that mean the same. */
export function configRows(view: Readonly<Record<string, ConfigEntry>>): Row[] {
  const argv: readonly string[] = []
  const defaults = loadConfig({ service: 'gateway', fields: gatewayFields, argv, env: {} }).view()
  const row = (key: string, name: string): Row => ({
    key,
    value: textOf(view[name]),
    default: textOf(defaults[name]),
    changeable: yesNo(view[name]?.live === true),
  })
  const own = Object.keys(view).toSorted()
  const constants = Object.entries(CONSTANTS).map(([key, value]) => {
    return { key, value, default: value, changeable: 'no' }
  })
  return [
    ...own.map((name) => row(name, name)),
    ...Object.entries(ALIASES).map(([key, name]) => row(key, name)),
    ...constants,
  ]
}

/** What PgBouncer lets choose and is fixed here. */
const CONSTANTS: Readonly<Record<string, string>> = {
  pool_mode: 'transaction',
  max_user_connections: '0',
  max_db_connections: '0',
}

function textOf(entry: ConfigEntry | undefined): string | null {
  const value = entry?.value ?? null
  return value === null ? null : String(value)
}

/**
 * SHOW VERSION. Tools read the first number, to know what the console can do: it is that of the
 * PgBouncer whose columns and commands it has.
 */
export function versionText(): string {
  const commit = BUILD.commit === null ? '' : ` (${BUILD.commit.slice(0, 12)})`
  return `PgBouncer 1.24.0 console of Multigres ${BUILD.version}${commit}`
}

/** SHOW STATE. */
export function stateRows({ pauses, draining }: GatewayServer): Row[] {
  return [
    { key: 'active', value: yesNo(!pauses.all && !draining) },
    { key: 'paused', value: yesNo(pauses.all) },
    { key: 'suspended', value: 'no' },
    { key: 'draining', value: yesNo(draining) },
  ]
}

/** SHOW MEM: what grows with the clients, in bytes. */
export function memoryRows(server: GatewayServer, { clients }: Picture): Row[] {
  const { statements, bytes } = server.registry.size
  const window = clients.reduce((sum, { view }) => sum + view.windowBytes, 0)
  const output = clients.reduce((sum, { view }) => sum + view.outputBytes, 0)
  const held = server.hold.bytes + server.pauses.hold.bytes
  const waiting = server.hold.waiting + server.pauses.hold.waiting
  return [
    memoryRow('statement_cache', statements, bytes, server.limits.statementCacheBytes),
    memoryRow('client_input', clients.length, window),
    memoryRow('client_output', clients.length, output),
    memoryRow('waiting_work', waiting, held, server.limits.failoverBytesMax),
  ]
}

function memoryRow(name: string, used: number, bytes: number, bytesMax?: number): Row {
  const size = used === 0 ? 0 : bytes / used
  const free = bytesMax === undefined || size === 0 ? 0 : Math.max(0, bytesMax - bytes) / size
  return { name, size, used, free: Math.floor(free), memtotal: bytes }
}

/** SHOW HELP. */
export const HELP = `
\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION|STATE
\tSHOW SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|PEERS|PEER_POOLS
\tSHOW DNS_HOSTS|DNS_ZONES
\tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS
\tSHOW SHARDS|POOLERS|LEADERS|PINS|GATEWAYS
\tSET key = arg
\tRELOAD
\tPAUSE [<db>]
\tRESUME [<db>]
\tDISABLE <db>
\tENABLE <db>
\tRECONNECT [<db>]
\tKILL [<db>]
\tKILL_CLIENT <id>
\tSHUTDOWN [WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]
\tWAIT_CLOSE [<db>]`
