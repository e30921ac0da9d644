import { duration, path, port, string } from '../../shared/config/fields.ts'

const group = 'Consensus'

/** Settings of a pooler's consensus part; the pooler's config.ts spreads them into its own. */
export const termFields = {
  pgctld: string({
    default: '127.0.0.1:15470',
    help: 'HOST:PORT of the pgctld that runs its Postgres.',
    group,
  }),
  database: string({ default: 'postgres', help: 'Topology database that it belongs to.', group }),
  shard: string({ default: '0-inf', help: 'Shard of that database.', group }),
  stateDir: path({
    default: ({ id }) => `.multigres/poolers/${String(id)}`,
    help: 'Folder for its promises; not inside the data directory, which a restore replaces.',
    group,
  }),
  postgresHost: string({
    default: '127.0.0.1',
    help: 'Host under which followers reach its Postgres.',
    group,
  }),
  postgresPort: port({
    default: 0,
    help: 'Port under which followers reach its Postgres; 0 takes what pgctld says.',
    group,
  }),
  statusIntervalMs: duration({
    default: '250ms',
    min: '20ms',
    max: '10s',
    live: true,
    help: 'How often it tells orch how it is, when nothing changes.',
    group,
  }),
} as const
