// What each SHOW answers with. The columns of PgBouncer 1.18 come first, under its names, in its
// order and with its types, so that its tools work; those of newer PgBouncers follow, then ours.

/** PostgreSQL's names of the types that are used. */
export type ColumnType = 'text' | 'int4' | 'int8' | 'numeric'

/** Column -> type, in the order in which they are sent. */
export type Columns = Readonly<Record<string, ColumnType>>

const COUNTS = ['xact_count', 'query_count']
const TIMES = ['xact_time', 'query_time', 'wait_time']
/** PgBouncer has these since 1.24; what it parses itself on a server, a pooler does here. */
const NEWER = ['server_assignment_count', 'client_parse_count', 'bind_count']

const numeric = (names: readonly string[], prefix = ''): Columns =>
  Object.fromEntries(names.map((name) => [prefix + name, 'numeric'] as const))

const SOCKET = {
  type: 'text',
  user: 'text',
  database: 'text',
  state: 'text',
  addr: 'text',
  port: 'int4',
  local_addr: 'text',
  local_port: 'int4',
  connect_time: 'text',
  request_time: 'text',
  wait: 'int4',
  wait_us: 'int4',
  close_needed: 'int4',
  ptr: 'text',
  link: 'text',
  remote_pid: 'int4',
  tls: 'text',
  application_name: 'text',
} as const satisfies Columns

const SOCKET_NEWER = {
  replication: 'text',
  prepared_statements: 'int4',
  id: 'int4',
} as const satisfies Columns

const SOCKET_BUFFERS = {
  recv_pos: 'int4',
  pkt_pos: 'int4',
  pkt_remain: 'int4',
  send_pos: 'int4',
  send_remain: 'int4',
  pkt_avail: 'int4',
  send_avail: 'int4',
} as const satisfies Columns

/** Which pooler, and who is on the other side. */
const SOCKET_OURS = {
  pooler: 'text',
  pins: 'text',
  client_addr: 'text',
  client_port: 'int4',
  gateway: 'text',
} as const satisfies Columns

const SOCKETS = { ...SOCKET, ...SOCKET_BUFFERS, ...SOCKET_NEWER, ...SOCKET_OURS }

/** SHOW -> its columns. */
export const TABLES = {
  POOLS: {
    database: 'text',
    user: 'text',
    cl_active: 'int4',
    cl_waiting: 'int4',
    cl_active_cancel_req: 'int4',
    cl_waiting_cancel_req: 'int4',
    sv_active: 'int4',
    sv_active_cancel: 'int4',
    sv_being_canceled: 'int4',
    sv_idle: 'int4',
    sv_used: 'int4',
    sv_tested: 'int4',
    sv_login: 'int4',
    maxwait: 'int4',
    maxwait_us: 'int4',
    pool_mode: 'text',
    load_balance_hosts: 'text',
    sv_others: 'int4',
    sv_pinned: 'int4',
  },
  CLIENTS: { ...SOCKET, ...SOCKET_NEWER, pooler: 'text', pins: 'text', gateway: 'text' },
  SERVERS: { ...SOCKET, ...SOCKET_NEWER, ...SOCKET_OURS },
  SOCKETS,
  ACTIVE_SOCKETS: SOCKETS,
  STATS: {
    database: 'text',
    ...numeric([...COUNTS, 'received', 'sent', ...TIMES], 'total_'),
    ...numeric([...COUNTS, 'recv', 'sent', ...TIMES], 'avg_'),
    ...numeric(NEWER, 'total_'),
    ...numeric(NEWER, 'avg_'),
  },
  STATS_TOTALS: {
    database: 'text',
    ...numeric([...COUNTS, 'bytes_received', 'bytes_sent', ...TIMES, ...NEWER]),
  },
  STATS_AVERAGES: {
    database: 'text',
    ...numeric([...COUNTS, 'bytes_received', 'bytes_sent', ...TIMES, ...NEWER]),
  },
  TOTALS: { name: 'text', value: 'numeric' },
  DATABASES: {
    name: 'text',
    host: 'text',
    port: 'int4',
    database: 'text',
    force_user: 'text',
    pool_size: 'int4',
    min_pool_size: 'int4',
    reserve_pool: 'int4',
    pool_mode: 'text',
    max_connections: 'int4',
    current_connections: 'int4',
    paused: 'int4',
    disabled: 'int4',
    reserve_pool_size: 'int4',
    load_balance_hosts: 'text',
    max_client_connections: 'int4',
    current_client_connections: 'int4',
  },
  USERS: {
    name: 'text',
    pool_mode: 'text',
    pool_size: 'text',
    reserve_pool_size: 'text',
    max_user_connections: 'int4',
    current_connections: 'int4',
    max_user_client_connections: 'int4',
    current_client_connections: 'int4',
  },
  LISTS: { list: 'text', items: 'int4' },
  CONFIG: { key: 'text', value: 'text', default: 'text', changeable: 'text' },
  VERSION: { version: 'text' },
  MEM: { name: 'text', size: 'int4', used: 'int4', free: 'int4', memtotal: 'int4' },
  DNS_HOSTS: { hostname: 'text', ttl: 'int8', addrs: 'text' },
  DNS_ZONES: { zonename: 'text', serial: 'int8', count: 'int4' },
  STATE: { key: 'text', value: 'text' },
  PEERS: { peer_id: 'int4', host: 'text', port: 'int4', pool_size: 'int4' },
  PEER_POOLS: {
    peer_id: 'int4',
    cl_active_cancel_req: 'int4',
    cl_waiting_cancel_req: 'int4',
    sv_active_cancel: 'int4',
    sv_login: 'int4',
  },
  SHARDS: {
    database: 'text',
    shard: 'text',
    leader: 'text',
    rule: 'text',
    poolers: 'int4',
    followers: 'int4',
    waiting: 'int4',
  },
  POOLERS: {
    pooler: 'text',
    role: 'text',
    rule: 'text',
    serving: 'text',
    reason: 'text',
    connected: 'text',
    silent_ms: 'int4',
    lag_bytes: 'int8',
    sessions: 'int4',
    cell: 'text',
    host: 'text',
    port: 'int4',
    http: 'text',
    postgres_port: 'int4',
  },
  LEADERS: { database: 'text', shard: 'text', pooler: 'text', rule: 'text', host: 'text' },
  PINS: {
    id: 'int4',
    user: 'text',
    database: 'text',
    client_addr: 'text',
    application_name: 'text',
    pooler: 'text',
    remote_pid: 'int4',
    pins: 'text',
    since_ms: 'int4',
    gateway: 'text',
  },
  GATEWAYS: {
    gateway: 'text',
    cell: 'text',
    host: 'text',
    port: 'int4',
    http: 'text',
    live: 'text',
    self: 'text',
  },
} as const satisfies Record<string, Columns>

/** What can be shown, but for HELP, which is a notice. */
export type TableName = keyof typeof TABLES

/** A value of a row; null where there is none. */
export type Value = string | number | null

/** A row by column; a column that is left out is null. */
export type Row = Readonly<Record<string, Value>>
