import type { PoolerConfig } from '../config.ts'
import type { PoolLimits } from '../pool/pool-set.ts'

/** All bounds of the data plane as plain numbers: read for every batch, rewritten by settings. */
export type ExecutorLimits = { -readonly [K in keyof PoolLimits]: PoolLimits[K] } & {
  streamsMax: number
  plainSessionsMax: number
  replicationMax: number
  listenersMax: number
  listenQueueBytes: number
  preparedMax: number
  preparedBytesMax: number
  definitionsBytesMax: number
  messageBytesMax: number
  connectTimeoutMs: number
  cancelTimeoutMs: number
  cleanUpMs: number
  unfinishedBatchMs: number
  slowClientMs: number
  authenticationMs: number
}

/** What Postgres itself admits, as far as it is known. */
export type PostgresLimits = { readonly maxConnections: number; readonly reserved: number }

/** Postgres's own defaults, until it was asked. */
export const POSTGRES_DEFAULTS: PostgresLimits = { maxConnections: 100, reserved: 3 }

/** The bounds that follow from the settings and from what Postgres admits. */
export function limitsOf(config: PoolerConfig, postgres: PostgresLimits): ExecutorLimits {
  const room = postgres.maxConnections - postgres.reserved - config.backendsReserved
  const backendsMax = Math.max(1, config.backendsMax === 0 ? room : config.backendsMax)
  return {
    poolSize: config.poolSize,
    backendsMax,
    pinnedMax:
      config.pinnedBackendsMax === 0 ? Math.ceil(backendsMax / 2) : config.pinnedBackendsMax,
    poolsMax: config.poolsMax,
    waitersMax: config.poolWaitersMax,
    waitMs: config.poolWaitTimeoutMs,
    lifetimeMs: config.backendLifetimeMs,
    idleMs: config.backendIdleTimeMs,
    warmSize: config.poolWarmSize,
    warmMs: config.poolWarmTimeMs,
    streamsMax: config.streamsMax,
    plainSessionsMax: config.plainSessionsMax,
    replicationMax: config.replicationMax,
    listenersMax: config.listenersMax,
    listenQueueBytes: config.listenQueueBytes,
    preparedMax: config.preparedStatementsMax,
    preparedBytesMax: config.preparedCacheBytes,
    definitionsBytesMax: config.statementCacheBytes,
    messageBytesMax: config.messageBytesMax,
    connectTimeoutMs: config.connectTimeoutMs,
    cancelTimeoutMs: config.cancelTimeoutMs,
    cleanUpMs: config.cleanUpTimeoutMs,
    unfinishedBatchMs: config.unfinishedBatchTimeoutMs,
    slowClientMs: config.slowClientTimeoutMs,
    authenticationMs: config.authenticationTimeoutMs,
  }
}
