// What the data plane holds, for GET /debug/...; field names are for people and tools.
import { Pin } from '../../shared/link/frame.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { Backend } from '../backend/backend.ts'
import { MemberState } from '../pool/pool-member.ts'
import type { Executor } from './executor.ts'
import type { PlainSession } from './plain-session.ts'
import { StreamState } from './stream-state.ts'
import { Stream } from './stream.ts'

const PIN_NAMES: readonly (readonly [number, string])[] = Object.entries(Pin).map(
  ([name, bit]) => [bit, name.replace(/[A-Z]/g, (c) => ` ${c.toLowerCase()}`).trim()] as const,
)
const MEMBER_STATES = nameOf(MemberState)
const STREAM_STATES = nameOf(StreamState)

function nameOf(states: Readonly<Record<string, number>>): ReadonlyMap<number, string> {
  return new Map(Object.entries(states).map(([name, value]) => [value, name.toLowerCase()]))
}

/** Names of the bits of a pin mask. */
export function pinNames(pins: number): string[] {
  return PIN_NAMES.filter(([bit]) => (pins & bit) !== 0).map(([, name]) => name)
}

/** Every pool with its figures. */
export function debugPools(executor: Executor): unknown {
  const { pools, limits } = executor
  return {
    backends: pools.total,
    backends_max: limits.backendsMax,
    pinned: pools.pinnedTotal,
    pinned_max: limits.pinnedMax,
    pools: [...pools.pools.values()].map((pool) => ({
      ...pool.key,
      size: pool.size,
      size_max: limits.poolSize,
      opening: pool.opening,
      idle: pool.idle.length,
      pinned: pool.pinned,
      waiting: pool.waiting,
      sessions: pool.sessions,
    })),
  }
}

/** Every backend: who has it, and why it stays with them. */
export function debugBackends(executor: Executor): unknown {
  const rows = []
  for (const pool of executor.pools.pools.values()) {
    for (const backend of pool.members) rows.push(backendRow(executor, backend))
  }
  return rows
}

function backendRow(executor: Executor, backend: Backend): unknown {
  const { owner, pool } = backend
  const stream = owner instanceof Stream ? owner : undefined
  return {
    pid: backend.pid,
    database: pool.key.database,
    user: pool.key.user,
    state: MEMBER_STATES.get(backend.memberState),
    transaction: transactionName(backend.status),
    running: backend.running,
    paused: backend.paused,
    since_ms: Math.round(executor.nowMs - backend.sinceMs),
    age_ms: Math.round(executor.nowMs - backend.bornMs),
    retired: backend.retired,
    pins: pinNames(stream?.pinReasons ?? (backend.raw ? Pin.Explicit : 0)),
    client: stream?.client ?? null,
    session: stream?.session ?? null,
    owner: owner === undefined ? null : owner.constructor.name,
    prepared: backend.prepared.size,
    prepared_bytes: backend.prepared.bytes,
    cancels: backend.cancels,
  }
}

function transactionName(status: number): string {
  if (status === TransactionStatus.Idle) return 'idle'
  return status === TransactionStatus.Failed ? 'failed' : 'open'
}

/** Every session, of links and plain ones. */
export function debugStreams(executor: Executor, plain: Iterable<PlainSession>): unknown {
  const rows = []
  for (const link of executor.links) {
    for (const stream of link.streams.values()) {
      rows.push({
        gateway: link.gatewayId,
        stream: stream.id,
        client: stream.client,
        session: stream.session,
        database: stream.pool.key.database,
        user: stream.pool.key.user,
        state: STREAM_STATES.get(stream.state),
        since_ms: Math.round(executor.nowMs - stream.sinceMs),
        pid: stream.backend?.pid ?? null,
        pins: pinNames(stream.pinReasons),
        pending_bytes: stream.pendingBytes,
        batches: stream.batches,
        released: stream.released,
        hand_overs: stream.handOvers,
      })
    }
  }
  for (const { replication } of executor.links) {
    for (const stream of replication.values()) rows.push(stream.describe())
  }
  for (const session of plain) {
    const { client, user, backend } = session
    rows.push({ gateway: null, client, user, state: 'plain', pid: backend?.pid ?? null })
  }
  return rows
}

/** Every link with its traffic. */
export function debugLinks(executor: Executor): unknown {
  return [...executor.links].map(({ gatewayId, connection, streams, statements, waitedMs }) => ({
    gateway: gatewayId,
    streams: streams.size,
    busy: connection.busy,
    statements: statements.definitions.size,
    statement_bytes: statements.bytes,
    waited_ms: Object.fromEntries(waitedMs),
    frames_in: connection.framesIn,
    frames_out: connection.framesOut,
    bytes_in: connection.bytesIn,
    bytes_out: connection.bytesOut,
    writes: connection.writes,
  }))
}
