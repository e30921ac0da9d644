import { commonFields } from '../shared/config/common-fields.ts'
import { duration, integer, path, port, size, type ConfigOf } from '../shared/config/fields.ts'
import { termFields } from './term/fields.ts'

const pools = 'Pools'
const limits = 'Limits'

/** The pooler's settings. */
export const poolerFields = {
  ...commonFields('pooler', { httpPort: 15_200, grpcPort: 15_270 }),
  port: port({
    default: 15_500,
    help: 'The data port: gateways and plain drivers connect here; 0 takes a free one.',
  }),
  socketDir: path({
    optional: true,
    help: 'Folder (mode 0700) for the data port’s unix socket, named as PostgreSQL names its own.',
  }),
  ...termFields,
  nice: integer({
    default: -10,
    min: -20,
    max: 19,
    help: 'Its priority, where the system allows it: -20 runs before all others, 19 after.',
  }),

  poolSize: integer({
    default: 16,
    min: 1,
    max: 10_000,
    live: true,
    group: pools,
    help: 'Most backends of one (database, user, startup options); sessions beyond that wait.',
  }),
  poolWaitTimeoutMs: duration({
    default: '30s',
    min: '1ms',
    live: true,
    group: pools,
    help: 'Longest time a batch waits for a backend before it fails with 53300.',
  }),
  poolWaitersMax: integer({
    default: 10_000,
    min: 1,
    live: true,
    group: pools,
    help: 'Most sessions that wait in one pool; the next fails with 53300 at once.',
  }),
  poolsMax: integer({
    default: 256,
    min: 1,
    live: true,
    group: pools,
    help: 'Most pools: variants of startup options are bounded by it.',
  }),
  backendsMax: integer({
    default: 0,
    min: 0,
    live: true,
    group: pools,
    help: 'Most backends over all pools; 0: max_connections without --backends-reserved.',
  }),
  backendsReserved: integer({
    default: 10,
    min: 0,
    live: true,
    group: pools,
    help: 'Connections of max_connections left to the system’s own SQL, replication and people.',
  }),
  pinnedBackendsMax: integer({
    default: 0,
    min: 0,
    live: true,
    group: pools,
    help: 'Most backends held by sessions that need one of their own; 0: half of all.',
  }),
  backendLifetimeMs: duration({
    default: '1h',
    min: '1s',
    live: true,
    group: pools,
    help: 'A backend is replaced after this long, up to a fifth earlier by chance.',
  }),
  backendIdleTimeMs: duration({
    default: '10min',
    min: '1s',
    live: true,
    group: pools,
    help: 'An idle backend is closed after this long, unless the pool is kept warm with it.',
  }),
  poolWarmSize: integer({
    default: 2,
    min: 0,
    live: true,
    group: pools,
    help: 'Backends that a pool keeps while it has sessions or was used within --pool-warm-time.',
  }),
  poolWarmTimeMs: duration({
    default: '10min',
    live: true,
    group: pools,
    help: 'How long after its last use a pool without sessions is kept warm.',
  }),
  preparedStatementsMax: integer({
    default: 500,
    min: 1,
    live: true,
    group: pools,
    help: 'Most shared prepared statements on one backend; the least used makes room for the next.',
  }),
  preparedCacheBytes: size({
    default: '16MB',
    min: '64kB',
    live: true,
    group: pools,
    help: 'Texts of the shared prepared statements on one backend; as --prepared-statements-max.',
  }),

  streamsMax: integer({
    default: 20_000,
    min: 1,
    live: true,
    group: limits,
    help: 'Most sessions over all gateways; the next is refused with 53300.',
  }),
  plainSessionsMax: integer({
    default: 100,
    min: 0,
    live: true,
    group: limits,
    help: 'Most drivers connected to the data port without a gateway; each holds a backend.',
  }),
  replicationMax: integer({
    default: 8,
    min: 0,
    live: true,
    group: limits,
    help: 'Most replication connections of clients; each holds one of max_wal_senders.',
  }),
  listenersMax: integer({
    default: 8,
    min: 0,
    live: true,
    group: limits,
    help: 'Most databases with a shared LISTEN connection; elsewhere LISTEN keeps a backend.',
  }),
  listenQueueBytes: size({
    default: '16MB',
    min: '64kB',
    live: true,
    group: limits,
    help: 'Notifications that wait for one session; one that lets more wait is closed.',
  }),
  statementCacheBytes: size({
    default: '32MB',
    min: '1MB',
    max: '512MB',
    group: limits,
    help: 'Shared prepared statements kept for one gateway, which sends the others when needed.',
  }),
  messageBytesMax: size({
    default: '1GB',
    min: '64kB',
    max: '1GB',
    group: limits,
    help: 'Largest message in either direction; PostgreSQL makes none above 1 GB.',
  }),
  connectTimeoutMs: duration({
    default: '5s',
    min: '10ms',
    live: true,
    group: limits,
    help: 'A new connection to PostgreSQL must be accepted within this time.',
  }),
  cancelTimeoutMs: duration({
    default: '1s',
    min: '10ms',
    live: true,
    group: limits,
    help: 'A cancel connection that stays open longer costs the backend.',
  }),
  cleanUpTimeoutMs: duration({
    default: '5s',
    min: '10ms',
    live: true,
    group: limits,
    help: 'Cleaning a backend behind a session that ended takes no longer, or it is closed.',
  }),
  unfinishedBatchTimeoutMs: duration({
    default: '10min',
    live: true,
    group: limits,
    help: 'A client that keeps a backend waiting this long in mid-batch is cut; 0 never.',
  }),
  slowClientTimeoutMs: duration({
    default: '10min',
    live: true,
    group: limits,
    help: 'A client that reads nothing of its result for this long is cut; 0 never.',
  }),
  authenticationTimeoutMs: duration({
    default: '1min',
    min: '1s',
    live: true,
    group: limits,
    help: 'A connection to the data port must have proven who it is within this time.',
  }),
}

/** The values of the pooler's settings. */
export type PoolerConfig = ConfigOf<typeof poolerFields>
