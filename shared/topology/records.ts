// What is in the topology, and under which key.
//
//   cells/CELL                            CellRecord
//   cells/CELL/poolers/ID                 PoolerRecord: durable, only its removal deletes it
//   cells/CELL/gateways/ID, orchs/ID      GatewayRecord, OrchRecord: leased
//   cells/CELL/live/KIND/ID               leased, exists while the process runs
//   databases/DB                          DatabaseRecord
//   databases/DB/default/SHARD/init-claim ShardClaim
//   databases/DB/default/SHARD/recovery   RecoveryRecord: absent while nobody ever paused it
//   databases/DB/default/SHARD/leaving/ID exists while an operator removes that member
import {
  flag,
  integer,
  listOf,
  mapOf,
  name,
  oneOf,
  optional,
  port,
  readRecord,
  text,
  type Shape,
} from './record-shape.ts'

/** A member of a shard: a pooler with its Postgres. */
export type PoolerRecord = {
  /** `CELL_NAME`, unique in the cluster. */
  id: string
  cell: string
  database: string
  shard: string
  /** New for each data directory of this id: a node wiped and made anew is another one. */
  incarnation: string
  lifecycle: 'active' | 'stopping'
  host: string
  /** `host:port`. */
  grpc: string
  /** `http://host:port`. */
  http: string
  /** Where gateways of other machines connect. */
  dataPort: number
  /** Path of the data socket, for gateways of the same machine. */
  socket: string
  postgresHost: string
  postgresPort: number
  /** Wall clock, for people. */
  updatedAtMs: number
}

/** A gateway, found by the others for cancel requests. */
export type GatewayRecord = {
  id: string
  cell: string
  host: string
  http: string
  grpc: string
  port: number
  socket: string
  /** Its port for reads from followers; missing without one. */
  replicaPort?: number
  /** Unique among gateways: the part of a BackendKeyData that leads to it. */
  pidPrefix: number
  /** `host:port` for forwarded cancel requests. */
  cancel: string
}

/** An orchestrator. */
export type OrchRecord = { id: string; cell: string; http: string; grpc: string }

/** A topology database. */
export type DatabaseRecord = {
  name: string
  clusterId: string
  /** Durability policy, as `at_least_2`. */
  durability: string
  shards: string[]
  cells: string[]
}

/** A cell. */
export type CellRecord = { name: string }

/** Who may bootstrap a shard, and with which members; made once and moved only forward. */
export type ShardClaim = {
  /** Id of the orchestrator. */
  claimer: string
  /** Id of the pooler that is initialised first. */
  first: string
  /** Pooler id -> the incarnation the claim counts on. */
  incarnations: Record<string, string>
  attempt: number
  state: 'claimed' | 'decided'
}

/** Whether orchestrators may act on a shard, as an operator said. */
export type RecoveryRecord = {
  /** They act on nothing, and say what they would do. */
  paused: boolean
  /** Who said so, and why: for people. */
  by: string
  reason: string
  /** Wall clock, when it was said. */
  atMs: number
  /** Wall clock: failovers before it count no more towards the limit. */
  liftedAtMs: number
}

/** The kinds of services that register themselves. */
export type ServiceKind = 'poolers' | 'gateways' | 'orchs'

/** Service kind -> its record. */
export type ServiceRecords = {
  poolers: PoolerRecord
  gateways: GatewayRecord
  orchs: OrchRecord
}

const COUNT = integer(0, Number.MAX_SAFE_INTEGER)

/** How a record of each kind of service is read. */
export const SERVICE_SHAPES: { readonly [Kind in ServiceKind]: Shape<ServiceRecords[Kind]> } = {
  poolers: {
    id: name,
    cell: name,
    database: name,
    shard: name,
    incarnation: name,
    lifecycle: oneOf('active', 'stopping'),
    host: name,
    grpc: name,
    http: name,
    dataPort: port,
    socket: text,
    postgresHost: text,
    postgresPort: port,
    updatedAtMs: COUNT,
  },
  gateways: {
    id: name,
    cell: name,
    host: name,
    http: name,
    grpc: name,
    port,
    socket: text,
    replicaPort: optional(port),
    pidPrefix: COUNT,
    cancel: text,
  },
  orchs: { id: name, cell: name, http: name, grpc: name },
}

/** @throws RecordError */
export function readCell(json: string): CellRecord {
  return readRecord<CellRecord>({ name }, json)
}

/** @throws RecordError */
export function readDatabase(json: string): DatabaseRecord {
  return readRecord<DatabaseRecord>(
    { name, clusterId: name, durability: name, shards: listOf(name), cells: listOf(name) },
    json,
  )
}

/** @throws RecordError */
export function readShardClaim(json: string): ShardClaim {
  return readRecord<ShardClaim>(
    {
      claimer: name,
      first: name,
      incarnations: mapOf(name),
      attempt: COUNT,
      state: oneOf('claimed', 'decided'),
    },
    json,
  )
}

/** @throws RecordError */
export function readRecovery(json: string): RecoveryRecord {
  return readRecord<RecoveryRecord>(
    { paused: flag, by: text, reason: text, atMs: COUNT, liftedAtMs: COUNT },
    json,
  )
}

/** A pooler's, gateway's or orch's record. @throws RecordError */
export function readService<Kind extends ServiceKind>(
  kind: Kind,
  json: string,
): ServiceRecords[Kind] {
  return readRecord<ServiceRecords[Kind]>(SERVICE_SHAPES[kind], json)
}

/** Everything of all cells starts with this. */
export const CELLS_PREFIX = 'cells/'
/** Every database, and everything in it, starts with this. */
export const DATABASES_PREFIX = 'databases/'

/** Key of a CellRecord. */
export function cellKey(cell: string): string {
  return CELLS_PREFIX + part(cell)
}

/** Key of a DatabaseRecord. */
export function databaseKey(database: string): string {
  return DATABASES_PREFIX + part(database)
}

/** Key of a ShardClaim. `default` is the one table group there is. */
export function shardClaimKey(database: string, shard: string): string {
  return `${databaseKey(database)}/default/${part(shard)}/init-claim`
}

/** Key of a RecoveryRecord. */
export function recoveryKey(database: string, shard: string): string {
  return `${databaseKey(database)}/default/${part(shard)}/recovery`
}

/** Key of the mark that a member is being removed. */
export function leavingKey(database: string, shard: string, id: string): string {
  return `${databaseKey(database)}/default/${part(shard)}/leaving/${part(id)}`
}

/** Key of a service's record. */
export function serviceKey(kind: ServiceKind, cell: string, id: string): string {
  return `${cellKey(cell)}/${kind}/${part(id)}`
}

/** Key that exists while the service runs. */
export function liveKey(kind: ServiceKind, cell: string, id: string): string {
  return `${cellKey(cell)}/live/${kind}/${part(id)}`
}

/** Key of a PoolerRecord. */
export function poolerKey(cell: string, id: string): string {
  return serviceKey('poolers', cell, id)
}

/** Key of a GatewayRecord. */
export function gatewayKey(cell: string, id: string): string {
  return serviceKey('gateways', cell, id)
}

/** Key of an OrchRecord. */
export function orchKey(cell: string, id: string): string {
  return serviceKey('orchs', cell, id)
}

/** What serviceKey and liveKey were made of; undefined for any other key. */
export function parseServiceKey(
  key: string,
): { kind: ServiceKind; cell: string; id: string; live: boolean } | undefined {
  const match = /^cells\/([^/]+)\/(live\/)?(poolers|gateways|orchs)\/([^/]+)$/.exec(key)
  const [, cell, live, kind, id] = match ?? []
  if (cell === undefined || kind === undefined || id === undefined) return undefined
  try {
    return {
      kind: kind as ServiceKind,
      cell: decodeURIComponent(cell),
      id: decodeURIComponent(id),
      live: live !== undefined,
    }
  } catch {
    return undefined // not escaped by us
  }
}

/** Keys are printable ASCII, and a slash means a level. */
function part(value: string): string {
  return encodeURIComponent(value)
}
