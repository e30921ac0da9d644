// SHOW DATABASES, USERS, LISTS: what is known here, which is what clients have asked for.

import type { GatewayServer } from '../../server.ts'
import type { Row } from '../columns.ts'
import { CONSOLE_DATABASE } from '../console-database.ts'
import type { Picture } from '../picture.ts'

/** Every database that a client, a backend or an administrator has named, sorted. */
export function knownDatabases(server: GatewayServer, picture: Picture): string[] {
  const names = new Set<string>([...server.pauses.named, ...server.disabled])
  for (const [database] of server.traffic.entries()) names.add(database)
  for (const { backend } of picture.servers) names.add(backend.database)
  return [...names].toSorted()
}

/** SHOW DATABASES; the console is one of them, as in PgBouncer. */
export function databaseRows(server: GatewayServer, picture: Picture): Row[] {
  const { router, limits, port } = server
  const leader = picture.figures.find(({ pooler }) => pooler === router.leader?.id)
  const poolSize = sizeOfPools(picture)
  const console: Row = {
    ...SAME,
    name: CONSOLE_DATABASE,
    port,
    database: CONSOLE_DATABASE,
    force_user: CONSOLE_DATABASE,
    pool_size: 0,
    pool_mode: 'statement',
    max_connections: 0,
    current_connections: 0,
    max_client_connections: 0,
    current_client_connections: picture.consoles.length,
    paused: 0,
    disabled: 0,
  }
  const rows = knownDatabases(server, picture).map((name) => ({
    ...SAME,
    name,
    host: leader?.record.host ?? null,
    port: leader?.record.postgresPort ?? 0,
    database: name,
    pool_size: poolSize,
    max_connections: leader?.pools.backends_max ?? 0,
    current_connections: countOf(picture.servers, ({ backend }) => backend.database === name),
    max_client_connections: limits.clientsPerDatabaseMax,
    current_client_connections: countOf(picture.clients, ({ view }) => view.database === name),
    paused: server.pauses.holds(name) ? 1 : 0,
    disabled: server.disabled.has(name) ? 1 : 0,
  }))
  return [console, ...rows]
}

/** SHOW USERS. */
export function userRows(server: GatewayServer, picture: Picture): Row[] {
  return knownUsers(picture).map((name) => ({
    name,
    pool_mode: null,
    pool_size: '',
    reserve_pool_size: '',
    max_user_connections: 0,
    current_connections: countOf(picture.servers, ({ backend }) => backend.user === name),
    max_user_client_connections: server.limits.clientsPerUserMax,
    current_client_connections: countOf(picture.clients, ({ view }) => view.user === name),
  }))
}

/** SHOW LISTS. */
export function listRows(server: GatewayServer, picture: Picture): Row[] {
  const pools = new Set(
    picture.servers.map(({ backend }) => `${backend.database}\0${backend.user}`),
  )
  for (const { view } of picture.clients) pools.add(`${view.database}\0${view.user}`)
  const ownClients = countOf(picture.clients, ({ gateway }) => gateway === server.limits.id)
  const clients = picture.clients.length + picture.consoles.length
  const lists: Readonly<Record<string, number>> = {
    databases: knownDatabases(server, picture).length + 1,
    users: knownUsers(picture).length,
    peers: Math.max(0, server.gateways.size - 1),
    pools: pools.size + 1,
    peer_pools: 0,
    free_clients: Math.max(0, server.limits.clientsMax - ownClients),
    used_clients: clients,
    login_clients: Math.max(0, picture.connections - clients),
    free_servers: freeBackends(picture),
    used_servers: picture.servers.length,
    dns_names: 0,
    dns_zones: 0,
    dns_queries: 0,
    dns_pending: 0,
  }
  return Object.entries(lists).map(([list, items]) => ({ list, items }))
}

function knownUsers({ clients, servers }: Picture): string[] {
  const names = new Set(clients.map(({ view }) => view.user))
  for (const { backend } of servers) names.add(backend.user)
  return [...names].toSorted()
}

/** The size that a pooler gives to each of its pools: the same for all. */
function sizeOfPools({ figures }: Picture): number {
  return figures.flatMap((one) => one.pools.pools)[0]?.size_max ?? 0
}

function freeBackends({ figures }: Picture): number {
  return figures.reduce((free, { pools, backends }) => {
    return free + Math.max(0, pools.backends_max - backends.length)
  }, 0)
}

function countOf<T>(items: readonly T[], counts: (item: T) => boolean): number {
  return items.reduce((count, item) => count + (counts(item) ? 1 : 0), 0)
}

/** Pools have no least size and no reserve. */
const SAME: Row = {
  host: null,
  force_user: null,
  min_pool_size: 0,
  reserve_pool: 0,
  reserve_pool_size: 0,
  pool_mode: null,
  load_balance_hosts: null,
}
