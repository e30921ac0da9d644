import type { GatewayRecord, PoolerRecord } from '../../shared/topology/records.ts'

/** A pooler's record, good but for what the test changes. */
export function poolerRecord(changes: Partial<PoolerRecord> = {}): PoolerRecord {
  return {
    id: 'zone1_pooler1',
    cell: 'zone1',
    database: 'postgres',
    shard: '0-inf',
    incarnation: 'a',
    lifecycle: 'active',
    host: 'localhost',
    grpc: '127.0.0.1:15270',
    http: 'http://127.0.0.1:15200',
    dataPort: 15_500,
    socket: '/tmp/pooler1.sock',
    postgresHost: '127.0.0.1',
    postgresPort: 25_432,
    updatedAtMs: 0,
    ...changes,
  }
}

/** A gateway's record. */
export function gatewayRecord(changes: Partial<GatewayRecord> = {}): GatewayRecord {
  return {
    id: 'zone1_gateway1',
    cell: 'zone1',
    host: 'localhost',
    http: 'http://127.0.0.1:15100',
    grpc: '127.0.0.1:15170',
    port: 15_432,
    socket: '/tmp/gateway1.sock',
    pidPrefix: 7,
    cancel: '127.0.0.1:15170',
    ...changes,
  }
}
