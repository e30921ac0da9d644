// SHOW CLIENTS, SERVERS, SOCKETS, ACTIVE_SOCKETS: one row a connection.

import type { Row } from '../columns.ts'
import { CONSOLE_DATABASE } from '../console-database.ts'
import type { OwnConsole } from '../own-view.ts'
import type { Client, Picture, Server } from '../picture.ts'

/** SHOW CLIENTS: clients, and those of the console. */
export function clientRows(picture: Picture): Row[] {
  const rows = picture.clients.map((client) => clientRow(client, picture))
  for (const session of picture.consoles) rows.push(consoleRow(session, picture))
  return rows
}

/** SHOW SERVERS: the backends of clients that are shown, and those that wait for anybody's. */
export function serverRows(picture: Picture): Row[] {
  return picture.servers.filter(isOurs).map((server) => serverRow(server, picture))
}

/** SHOW SOCKETS: all of them; the states say whose side they are on. */
export function socketRows(picture: Picture): Row[] {
  const clients = clientRows(picture).map((row) => ({
    ...row,
    state: `cl_${row['state']}`,
  }))
  const servers = serverRows(picture).map((row) => ({ ...row, state: `sv_${row['state']}` }))
  return [...clients, ...servers]
}

/** SHOW ACTIVE_SOCKETS. */
export function activeSocketRows(picture: Picture): Row[] {
  return socketRows(picture).filter(({ state }) => String(state).endsWith('_active'))
}

/** Backends of clients that are not shown are not either. */
export function isOurs({ backend, client }: Server): boolean {
  return client !== undefined || backend.session === null
}

/** PgBouncer's word for what a backend does. */
export function serverState({ backend }: Server): 'active' | 'idle' | 'tested' | 'new' {
  if (backend.state === 'opening') return 'new'
  if (backend.session !== null) return 'active'
  if (backend.state === 'closing') return 'tested'
  if (backend.owner === null) return 'idle'
  return backend.owner === 'PlainSession' ? 'active' : 'tested'
}

/** A time as PgBouncer writes it. */
export function timeText(atMs: number): string {
  return `${new Date(atMs).toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

/** Whole seconds and the rest of it in microseconds. */
export function seconds(ms: number): { whole: number; micros: number } {
  const whole = Math.floor(ms / 1000)
  return { whole, micros: Math.floor((ms - whole * 1000) * 1000) }
}

/** `host:port` in two; a unix socket has no port. */
export function splitAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':')
  if (colon < 0) return { host: address, port: 0 }
  return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) }
}

const pointer = (id: number): string => `0x${id.toString(16)}`

function clientRow(client: Client, { atMs }: Picture): Row {
  const { number, view, stream } = client
  const from = splitAddress(view.client)
  const local = splitAddress(client.local)
  const wait = seconds(client.waitMs)
  const requestAgoMs = view.requestAgoMs ?? client.ageMs
  return {
    ...UNUSED,
    type: 'C',
    user: view.user,
    database: view.database,
    state: client.state,
    addr: from.host,
    port: from.port,
    local_addr: local.host,
    local_port: local.port,
    connect_time: timeText(atMs - client.ageMs),
    request_time: timeText(atMs - requestAgoMs),
    wait: wait.whole,
    wait_us: wait.micros,
    ptr: pointer(number),
    link: typeof stream?.pid === 'number' ? pointer(stream.pid) : '',
    tls: client.tls,
    replication: client.replication,
    application_name: view.applicationName,
    prepared_statements: view.statements,
    id: number,
    pkt_avail: view.windowBytes,
    send_avail: view.outputBytes,
    pooler: view.pooler ?? null,
    pins: stream?.pins?.join(', ') ?? '',
    client_addr: from.host,
    client_port: from.port,
    gateway: client.gateway,
  }
}

function consoleRow(session: OwnConsole, { atMs }: Picture): Row {
  const { number, user, client } = session
  const from = splitAddress(client)
  const now = timeText(atMs)
  return {
    ...UNUSED,
    type: 'C',
    user,
    database: CONSOLE_DATABASE,
    state: 'active',
    addr: from.host,
    port: from.port,
    connect_time: timeText(session.sinceMs),
    request_time: now,
    ptr: pointer(number),
    id: number,
    client_addr: from.host,
    client_port: from.port,
    gateway: session.gateway,
  }
}

function serverRow(server: Server, { atMs }: Picture): Row {
  const { backend, client, figures } = server
  const { record } = figures
  const from = splitAddress(client?.view.client ?? '')
  return {
    ...UNUSED,
    type: 'S',
    user: backend.user,
    database: backend.database,
    state: serverState(server),
    addr: record.host,
    port: record.postgresPort,
    local_addr: record.host,
    connect_time: backend.age_ms === undefined ? '' : timeText(atMs - backend.age_ms),
    request_time: timeText(atMs - backend.since_ms),
    close_needed: backend.retired === true ? 1 : 0,
    ptr: pointer(backend.pid),
    link: client === undefined ? '' : pointer(client.number),
    remote_pid: backend.pid,
    application_name: client?.view.applicationName ?? '',
    prepared_statements: backend.prepared,
    id: backend.pid,
    pooler: figures.pooler,
    pins: backend.pins.join(', '),
    client_addr: from.host,
    client_port: client === undefined ? null : from.port,
    gateway: client?.gateway ?? '',
  }
}

/** What a gateway does not have; a row says so by what PgBouncer says of an unused column. */
const UNUSED: Row = {
  local_addr: '',
  local_port: 0,
  wait: 0,
  wait_us: 0,
  close_needed: 0,
  link: '',
  remote_pid: 0,
  tls: '',
  application_name: '',
  replication: 'none',
  prepared_statements: 0,
  recv_pos: 0,
  pkt_pos: 0,
  pkt_remain: 0,
  send_pos: 0,
  send_remain: 0,
  pkt_avail: 0,
  send_avail: 0,
  pooler: null,
  pins: '',
}
