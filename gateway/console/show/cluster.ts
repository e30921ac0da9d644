// What PgBouncer has no word for: SHOW SHARDS, POOLERS, LEADERS, PINS, GATEWAYS; and its PEERS.

import { now } from '../../../shared/time/clock.ts'
import type { PoolerLink } from '../../poolers/pooler-link.ts'
import type { GatewayServer } from '../../server.ts'
import type { Row } from '../columns.ts'
import type { Picture } from '../picture.ts'

/** SHOW SHARDS: the one that this gateway serves. */
export function shardRows({ limits, router, hold, pauses, directory }: GatewayServer): Row[] {
  const poolers = directory.poolers.size
  const { leader } = router
  return [
    {
      database: limits.database,
      shard: limits.shard,
      leader: leader?.id ?? null,
      rule: ruleOf(leader),
      poolers,
      followers: leader === undefined ? poolers : poolers - 1,
      waiting: hold.waiting + pauses.hold.waiting,
    },
  ]
}

/** SHOW POOLERS: all members of the shard, as they last said of themselves. */
export function poolerRows({ router, directory }: GatewayServer): Row[] {
  return [...directory.poolers.values()].map(({ record }) => {
    const link = router.links.get(record.id)
    const connected = link?.connection !== undefined
    const health = link?.health
    return {
      pooler: record.id,
      role: health?.role ?? null,
      rule: ruleOf(link),
      serving: health === undefined ? null : yesNo(health.serving),
      reason: health?.reason ?? null,
      connected: yesNo(connected),
      silent_ms: connected ? now() - link.heardMs : null,
      lag_bytes: health?.lagBytes ?? null,
      sessions: link?.streams ?? 0,
      cell: record.cell,
      host: record.host,
      port: record.dataPort,
      http: record.http,
      postgres_port: record.postgresPort,
    }
  })
}

/** SHOW LEADERS: none while nobody leads. */
export function leaderRows({ router, directory, limits }: GatewayServer): Row[] {
  const { leader } = router
  if (leader === undefined) return []
  const host = directory.poolers.get(leader.id)?.record.host ?? null
  const { database, shard } = limits
  return [{ database, shard, pooler: leader.id, rule: ruleOf(leader), host }]
}

/** SHOW PINS: whose backend stays with them, and why. */
export function pinRows({ clients }: Picture): Row[] {
  return clients.flatMap(({ gateway, number, view, stream }) => {
    const pins = stream?.pins ?? []
    if (stream === undefined || pins.length === 0) return []
    return {
      id: number,
      user: view.user,
      database: view.database,
      client_addr: view.client,
      application_name: view.applicationName,
      pooler: view.pooler ?? null,
      remote_pid: stream.pid,
      pins: pins.join(', '),
      since_ms: stream.since_ms ?? null,
      gateway,
    }
  })
}

/** SHOW GATEWAYS: every one in the topology, this one among them. */
export function gatewayRows({ gateways, limits }: GatewayServer): Row[] {
  return [...gateways.values()].map(({ record, live }) => ({
    gateway: record.id,
    cell: record.cell,
    host: record.host,
    port: record.port,
    http: record.http,
    live: yesNo(live),
    self: yesNo(record.id === limits.id),
  }))
}

/** SHOW PEERS: the other gateways, which cancel requests are passed on to. */
export function peerRows({ gateways, limits }: GatewayServer): Row[] {
  return [...gateways.values()]
    .filter(({ record }) => record.id !== limits.id)
    .map(({ record }) => ({
      peer_id: record.pidPrefix,
      host: record.host,
      port: record.port,
      pool_size: null,
    }))
}

/** yes or no, as PgBouncer says it. */
export function yesNo(value: boolean): 'yes' | 'no' {
  return value ? 'yes' : 'no'
}

function ruleOf(link: PoolerLink | undefined): string | null {
  const health = link?.health
  return health === undefined ? null : `${health.term}.${health.subterm}`
}
