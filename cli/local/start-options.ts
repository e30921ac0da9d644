import { boolean, duration, integer, path, port, string } from '../../shared/config/fields.ts'
import type { ConfigOf } from '../../shared/config/fields.ts'
import { parsePolicy } from '../../shared/consensus/durability.ts'
import { existsSync } from 'node:fs'
import { UsageError, messageOf } from '../errors.ts'

/** Every member has its own ports of a row of 70 (http, then grpc), see `plan.ts`. */
const MEMBERS_MAX = 64
const ETCD = /^etcd:\/\/[^/]+(\/.*)?$/

/** The folder that every cluster command works on. */
export const DIR_FIELD = path({ default: '.multigres', help: "The cluster's folder." })
/** One JSON object on stdout. */
export const JSON_FIELD = boolean({ default: false, help: 'Print one JSON object on stdout.' })

/** The flags of `cluster start`, save --set. */
export const START_FIELDS = {
  dir: DIR_FIELD,
  port: port({
    default: 15_432,
    help: "The gateways' port for clients; 0 takes free ports for all.",
  }),
  listen: string({
    default: '127.0.0.1',
    help: 'Address of that port. Others than loopback need a password of your own.',
  }),
  replicaPort: port({ optional: true, help: 'A second port, for reads from followers.' }),
  poolers: integer({ default: 3, min: 1, max: MEMBERS_MAX, help: 'PostgreSQL servers.' }),
  cells: integer({
    default: 1,
    min: 1,
    max: MEMBERS_MAX,
    help: 'Failure domains they spread over.',
  }),
  gateways: integer({
    default: 1,
    min: 1,
    max: MEMBERS_MAX,
    help: 'Processes clients connect to.',
  }),
  orchs: integer({ default: 1, min: 1, max: MEMBERS_MAX, help: 'Orchestrators.' }),
  topology: string({
    default: 'embedded',
    help: 'embedded (a file), etcd (started here, from PATH) or etcd://HOST:PORT,...[/ROOT].',
    check: (text) =>
      text === 'embedded' || text === 'etcd' || ETCD.test(text)
        ? undefined
        : 'is not embedded, etcd or etcd://HOST:PORT,...[/ROOT]',
  }),
  postgres: string({
    default: 'embedded',
    help: 'embedded (installed by npm), system (newest of this machine) or a folder of programs.',
  }),
  durability: string({
    default: ({ poolers }) => (poolers === 1 ? 'at_least_1' : 'at_least_2'),
    help:
      'When a commit is acknowledged: at_least_N members, or multi_cell_at_least_N cells, ' +
      'have it. [at_least_2]',
    check: policyProblem,
  }),
  poolSize: integer({ default: 16, min: 1, help: 'Backends of one PostgreSQL for one user.' }),
  tls: string({
    default: 'auto',
    help: 'auto (a CA and certificate made here), off, or CERTFILE,KEYFILE.',
  }),
  passwordFile: path({
    optional: true,
    help: 'Password of the user postgres for a new cluster; without it, postgres.',
  }),
  startTimeoutMs: duration({ default: '60s', min: '1s', help: 'How long a start may take.' }),
  detach: boolean({
    default: false,
    help: 'Return when it serves; multigres cluster stop ends it.',
  }),
  json: JSON_FIELD,
}

/** What `cluster start` was asked for, with all defaults. */
export type StartOptions = ConfigOf<typeof START_FIELDS> & {
  /** The poolers one by one, where nodes were added or removed since the first start. */
  readonly seats?: readonly Seat[]
}

/** Where a pooler is. Its index, from 0, is never given to another one. */
export interface Seat {
  readonly index: number
  readonly cell: string
}

/** Flags that say how to start, not what: another value is no other cluster. */
export const TRANSIENT_FLAGS: ReadonlySet<string> = new Set([
  'dir',
  'start_timeout',
  'detach',
  'json',
  'password_file',
])

/** Flags that a folder keeps for its life: the members and what they promised depend on them. */
export const LASTING_FLAGS: ReadonlySet<string> = new Set([
  'poolers',
  'cells',
  'durability',
  'topology',
])

/** @throws UsageError with what is wrong between flags, each being right in itself. */
export function checkTogether(options: StartOptions): void {
  const problems: string[] = []
  const { kind, required } = parsePolicy(options.durability)
  if (options.cells > options.poolers) {
    problems.push(`--cells ${options.cells}: more cells than poolers (${options.poolers})`)
  }
  const able = kind === 'at_least' ? options.poolers : Math.min(options.cells, options.poolers)
  if (required > able) {
    const have = kind === 'at_least' ? 'poolers' : 'cells'
    problems.push(`--durability ${options.durability}: there are only ${able} ${have}`)
  }
  problems.push(...fileProblems(options))
  if (problems.length > 0) throw new UsageError(problems)
}

function fileProblems(options: StartOptions): string[] {
  const problems: string[] = []
  const { postgres, tls, passwordFile } = options
  if (postgres !== 'embedded' && postgres !== 'system' && !existsSync(postgres)) {
    problems.push(`--postgres ${postgres}: there is no such folder`)
  }
  if (tls !== 'auto' && tls !== 'off') {
    const files = tls.split(',')
    if (files.length !== 2) problems.push(`--tls ${tls}: not auto, off or CERTFILE,KEYFILE`)
    else {
      for (const file of files) {
        if (!existsSync(file)) problems.push(`--tls: there is no file ${file}`)
      }
    }
  }
  if (passwordFile !== undefined && !existsSync(passwordFile)) {
    problems.push(`--password-file: there is no file ${passwordFile}`)
  }
  return problems
}

/** What is wrong with the name of a durability policy. */
export function policyProblem(text: string): string | undefined {
  try {
    parsePolicy(text)
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}
