// Rewind: a data directory that went on alone past the point where the source left its timeline is
// taken back to it by pg_rewind, which copies what changed, where a clone copies everything.
//
// Invariants. Nothing starts in the directory from before the first change until the last one is on
// the disk (see rewind-marker.ts): whoever asked clones it instead. Its settings are written anew,
// none of the source's own stays. That pg_rewind finds nothing to do proves nothing, since it
// compares less than the WAL: it counts as a failure.
import { join } from 'node:path'
import type { CloneProgress, RewindRequest } from '../../proto/gen/pgctld.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { ReplicationConnection } from '../../shared/replication/replication-connection.ts'
import { changeAutoConf } from '../conf/auto-conf.ts'
import { REPLICATION_ROLE } from '../conf/hba.ts'
import { passfilePath } from '../conf/passfile.ts'
import { writeConf } from '../conf/write-conf.ts'
import { keepContent } from '../files/durable.ts'
import { inspectDataDirectory } from '../postgres/data-directory.ts'
import type { ManagedPostgres } from '../postgres/managed-postgres.ts'
import { confInput, type PostgresOptions } from '../postgres/postgres-options.ts'
import { beginRewind } from '../postgres/rewind-marker.ts'
import { runProgram } from '../postgres/run-program.ts'
import { syncTree } from '../postgres/sync-tree.ts'
import { NOT_OF_THE_SOURCE } from './clone.ts'
import { told, type Work } from './progress.ts'

const APPLICATION_NAME = 'multigres_rewind' // in nobody's list of synchronous standbys
const TIMEOUT_MS = 3_600_000 // hundreds of gigabytes of changes
const CONNECT_TIMEOUT_S = 10
const NOTHING_DONE = /no rewind required/
/** Others need crash recovery first, which a standby's directory does not do alone. */
const CLEAN = ['shut down', 'shut down in recovery']

/**
 * Rewinds and tells how far it is; the last item has the status.
 * @throws PgError; whether the directory is as it was, or half rewound, the status tells.
 */
export function rewindTo(
  postgres: ManagedPostgres,
  request: RewindRequest,
  signal: AbortSignal,
): AsyncGenerator<CloneProgress> {
  return told(postgres, signal, (work) => rewind(postgres, request, work))
}

async function rewind(
  postgres: ManagedPostgres,
  request: RewindRequest,
  { signal, onProgress }: Work,
): Promise<void> {
  const { options } = postgres
  const { dataDir, installation, log, runAs } = options
  const source = `${request.host}:${request.port}`
  await postgres.fill('rewind', { replace: true }, async () => {
    requireRewindable(options)
    onProgress({ phase: 'checkpoint', bytesDone: 0, bytesTotal: 0 })
    await checkpointAt(options, request, signal)
    log.info('rewinding', { source })
    beginRewind(dataDir, source, runAs)
    onProgress({ phase: 'rewinding', bytesDone: 0, bytesTotal: 0 })
    await runRewind(options, request, signal)
    writeConf(dataDir, confInput(options))
    changeAutoConf(dataDir, { ...NOT_OF_THE_SOURCE, ...request.settings }, runAs)
    keepContent(join(dataDir, 'standby.signal'), '', { runAs })
    onProgress({ phase: 'syncing', bytesDone: 0, bytesTotal: 0 })
    await syncTree(dataDir, { installation, runAs, signal })
    signal.throwIfAborted()
    log.info('rewound', { source })
  })
}

function requireRewindable(options: PostgresOptions): void {
  const { installation, dataDir } = options
  const refuse = (why: string) =>
    new PgError('object_not_in_prerequisite_state', `${dataDir} cannot be rewound: ${why}`)
  if (!installation.hasPgRewind) throw refuse(`${installation.binDir} has no pg_rewind`)
  const directory = inspectDataDirectory(options)
  if (directory.kind === 'unusable') throw refuse(directory.message)
  if (directory.kind !== 'usable') throw refuse(`it is ${directory.kind}`)
  const { state } = directory.control
  if (!CLEAN.includes(state)) throw refuse(`it was not stopped in good order, but is ${state}`)
}

/**
 * Has the source write its present timeline into its control file, where pg_rewind looks for it.
 * The replication role may ask for a checkpoint by beginning a base backup only.
 */
async function checkpointAt(
  options: PostgresOptions,
  { host, port }: RewindRequest,
  signal: AbortSignal,
): Promise<void> {
  const password = options.replicationPassword()
  using connection = await ReplicationConnection.connect({
    address: { host, port },
    user: REPLICATION_ROLE,
    secret: password === undefined ? undefined : { password },
    applicationName: APPLICATION_NAME,
    signal,
  })
  for await (const _ of connection.baseBackup({
    label: 'a checkpoint',
    checkpoint: 'fast',
    signal,
  })) {
    break
  }
}

async function runRewind(
  options: PostgresOptions,
  { host, port }: RewindRequest,
  signal: AbortSignal,
): Promise<void> {
  const { dataDir, installation, runAs } = options
  const server = conninfo({
    host,
    port: String(port),
    user: REPLICATION_ROLE,
    dbname: 'postgres',
    passfile: passfilePath(dataDir),
    application_name: APPLICATION_NAME,
    connect_timeout: String(CONNECT_TIMEOUT_S),
  })
  const program = join(installation.binDir, 'pg_rewind')
  const flags = ['--no-ensure-shutdown', `--target-pgdata=${dataDir}`, `--source-server=${server}`]
  // Its working directory shows whose it is, to whoever clears the directory after a kill.
  const where = { runAs, env: installation.env, cwd: dataDir, timeoutMs: TIMEOUT_MS, signal }
  const run = await runProgram([program, ...flags], where)
  const said = `${run.stdout}\n${run.stderr}`.trim()
  const failed = (why: string) => new PgError('io_error', `pg_rewind of ${dataDir}: ${why}`)
  if (run.killed) throw failed('it was ended before it was done')
  if (run.exitCode !== 0 || NOTHING_DONE.test(said)) throw failed(said)
}

function conninfo(values: Readonly<Record<string, string>>): string {
  const quoted = (value: string) => value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")
  return Object.entries(values)
    .map(([name, value]) => `${name}='${quoted(value)}'`)
    .join(' ')
}
