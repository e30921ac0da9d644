import { complaintAboutRules } from './auth/auth-rules.ts'
import { commonFields } from '../shared/config/common-fields.ts'
import {
  duration,
  integer,
  list,
  oneOf,
  path,
  port,
  size,
  string,
  type ConfigOf,
} from '../shared/config/fields.ts'

const clients = 'Clients'
const limits = 'Limits'
const failover = 'Failover'

/** The gateway's settings. */
export const gatewayFields = {
  ...commonFields('gateway', { httpPort: 15_100, grpcPort: 15_170 }),
  port: port({
    default: 15_432,
    help: 'Port for PostgreSQL clients; gateways of one cluster may share it. 0 takes a free one.',
  }),
  replicaPort: port({
    optional: true,
    help: 'Port for reads from followers; without it there is none. 0 takes a free one.',
  }),
  cancelPort: port({
    default: 0,
    help: 'Port of this gateway alone: others forward cancel requests there. 0 takes a free one.',
  }),
  socketDir: path({
    optional: true,
    help: 'Folder for a unix socket of this gateway, .s.PGSQL.PORT as PostgreSQL names its own.',
  }),
  database: string({
    default: 'postgres',
    help: 'The topology database whose poolers serve the clients.',
  }),
  shard: string({ default: '0-inf', help: 'The shard of it.' }),
  stateDir: path({
    optional: true,
    help: 'Folder for what it last knew of the cluster, read while the topology is away.',
  }),

  tlsCertFile: path({
    optional: true,
    group: clients,
    help: 'Certificate chain, PEM; turns TLS on.',
  }),
  tlsKeyFile: path({
    optional: true,
    group: clients,
    help: 'Private key of the certificate, PEM.',
  }),
  tlsClientCaFile: path({
    optional: true,
    group: clients,
    help: 'Certificate authorities that certificates of clients must come from, PEM.',
  }),
  rulesFile: path({
    optional: true,
    live: true,
    group: clients,
    check: complaintAboutRules,
    help: 'Who may come in and how, as in pg_hba.conf. Without it everybody needs a password.',
  }),
  strangersMax: integer({
    default: 10_000,
    min: 1,
    live: true,
    group: clients,
    help: 'Most connections of clients that have not logged in yet.',
  }),
  strangersPerAddressMax: integer({
    default: 2000,
    live: true,
    group: clients,
    help: 'Most of them from one address; 0 is no limit of its own.',
  }),
  clientsMax: integer({
    default: 10_000,
    min: 1,
    live: true,
    group: clients,
    help: 'Most clients that are in; the next is refused with 53300.',
  }),
  clientsPerUserMax: integer({
    default: 0,
    live: true,
    group: clients,
    help: 'Most clients of one user; 0 is no limit of its own.',
  }),
  clientsPerDatabaseMax: integer({
    default: 0,
    live: true,
    group: clients,
    help: 'Most clients of one database; 0 is no limit of its own.',
  }),
  sessionPoolingUsers: list({
    default: '',
    live: true,
    group: clients,
    help: 'Users whose sessions keep one backend from their first statement to their end.',
  }),
  sessionPoolingDatabases: list({
    default: '',
    live: true,
    group: clients,
    help: 'The same of databases.',
  }),
  listenLoss: oneOf({
    values: ['close', 'notice'],
    default: 'close',
    live: true,
    group: clients,
    help: 'A session that may have missed notifications is closed, or listens anew with a notice.',
  }),
  splitReadsUsers: list({
    default: '',
    live: true,
    group: clients,
    help: 'Users whose queries outside of transactions are read from followers where they can be.',
  }),
  adminUsers: list({
    default: '',
    live: true,
    group: clients,
    help: 'Users of the admin console (database multigres) besides superusers.',
  }),
  statsUsers: list({
    default: '',
    live: true,
    group: clients,
    help: 'Users that may only SHOW there.',
  }),
  statsPeriodMs: duration({
    default: '1min',
    min: '1s',
    live: true,
    group: clients,
    help: 'What the averages of SHOW STATS are over.',
  }),
  authenticationTimeoutMs: duration({
    default: '1min',
    min: '100ms',
    live: true,
    group: clients,
    help: 'A client must have logged in within this time.',
  }),
  halfClosedMs: duration({
    default: '10s',
    live: true,
    group: clients,
    help: 'A client that sends nothing more gets answers for this long; then what runs is cut.',
  }),
  clientKeepaliveMs: duration({
    default: '1min',
    min: '1s',
    group: clients,
    help: 'Idle time of a TCP connection before its peer is asked whether it lives.',
  }),

  messageBytesMax: size({
    default: '1GB',
    min: '64kB',
    max: '1GB',
    live: true,
    group: limits,
    help: 'Largest message of a client; PostgreSQL takes none above 1 GB.',
  }),
  statementBytesMax: size({
    default: '16MB',
    min: '64kB',
    max: '1GB',
    live: true,
    group: limits,
    help: 'Largest text that is read: a longer Query pins its backend, a longer Parse is refused.',
  }),
  windowBytes: size({
    default: '256kB',
    min: '16kB',
    live: true,
    group: limits,
    help: 'What a client may send ahead of the batch that runs, before it is not read any more.',
  }),
  preparedStatementsMax: integer({
    default: 10_000,
    min: 1,
    live: true,
    group: limits,
    help: 'Most named prepared statements of one client; the next Parse fails with 54000.',
  }),
  statementCacheBytes: size({
    default: '512MB',
    min: '1MB',
    group: limits,
    help: 'Memory of all prepared statements; full of ones in use, Parse fails with 54000.',
  }),
  statementCacheUnusedMax: integer({
    default: 1000,
    group: limits,
    help: 'Prepared statements kept although no client holds them.',
  }),

  failoverWindowMs: duration({
    default: '10s',
    live: true,
    group: failover,
    help: 'How long work that has not started waits for a leader, before it fails with 57P03.',
  }),
  pauseTimeoutMs: duration({
    default: '2min',
    live: true,
    group: failover,
    help: 'How long work waits while the gateway is paused, before it fails with 57P03.',
  }),
  failoverWaitersMax: integer({
    default: 10_000,
    live: true,
    group: failover,
    help: 'Most clients that wait for a leader.',
  }),
  failoverBytesMax: size({
    default: '64MB',
    live: true,
    group: failover,
    help: 'Most bytes that wait for a leader.',
  }),
  replicaLagMaxMs: duration({
    default: '30s',
    min: '1s',
    live: true,
    group: failover,
    help: 'A follower that is known to be staler than this is not read from.',
  }),
  leaderSilenceMs: duration({
    default: '1s',
    min: '300ms',
    group: failover,
    help: 'A leader whose link is silent for this long gets no more work.',
  }),
  linkConnectTimeoutMs: duration({
    default: '2s',
    min: '10ms',
    group: failover,
    help: 'A pooler must have answered a new link within this time.',
  }),
  loginTimeoutMs: duration({
    default: '10s',
    min: '10ms',
    group: failover,
    help: 'The pooler must have read the row about a login within this time.',
  }),
}

/** The values of the gateway's settings. */
export type GatewayConfig = ConfigOf<typeof gatewayFields>
