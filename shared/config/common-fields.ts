import { duration, id, oneOf, path, port, string } from './fields.ts'

/** The services' names, as users type them. */
export type Service = 'gateway' | 'pooler' | 'orch' | 'pgctld' | 'admin'

const CELL = /^[A-Za-z0-9-]+$/
const group = 'Every service'

/**
 * The fields that every service has; spread them into its own. Ports are the service's defaults.
 */
export function commonFields(service: Service, ports: { httpPort: number; grpcPort: number }) {
  return {
    cell: string({
      default: 'zone1',
      help: 'The cell (failure domain) that this service runs in.',
      group,
      check: (value) => (CELL.test(value) ? undefined : 'has more than letters, digits, dashes'),
    }),
    id: id({
      default: ({ cell }) => `${String(cell)}_${service}1`,
      help: 'Name of this member, CELL_NAME, unique in the whole system.',
      group,
    }),
    topology: string({
      default: 'embedded:.multigres/topology.db',
      help: 'Where the cluster keeps who is who: embedded:FILE or etcd://HOST:PORT,.../ROOT.',
      group,
    }),
    listen: string({
      default: '127.0.0.1',
      help: 'Address that its port for data listens on. HTTP has an address of its own.',
      group,
    }),
    httpListen: string({
      default: '127.0.0.1',
      help: 'Address that --http-port listens on.',
      group,
    }),
    httpPort: port({
      default: ports.httpPort,
      help: 'Port for probes, metrics and settings over HTTP; 0 takes a free one.',
      group,
    }),
    grpcPort: port({
      default: ports.grpcPort,
      help: 'Port on which the other services control this one; 0 takes a free one.',
      group,
    }),
    config: path({ optional: true, help: 'File with settings, YAML or TOML.', group }),
    logLevel: oneOf({
      values: ['debug', 'info', 'warn', 'error'],
      default: 'info',
      live: true,
      help: 'Least severity of what is logged on stderr.',
      group,
    }),
    secretsDir: path({
      optional: true,
      help: 'Folder with the files that hold secrets; token guards control over HTTP and gRPC.',
      group,
    }),
    lameduckPeriodMs: duration({
      default: '5s',
      live: true,
      help: 'Longest time that a stop leaves to transactions before it cuts them.',
      group,
    }),
  }
}

/** The fields of every service. */
export type CommonFields = ReturnType<typeof commonFields>
