// Clone: a data directory from another Postgres, complete and on the disk, or none at all.
import type { CloneProgress, CloneRequest } from '../../proto/gen/pgctld.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { ServerError } from '../../shared/pgwire/server-error.ts'
import { changeAutoConf } from '../conf/auto-conf.ts'
import { writeConf } from '../conf/write-conf.ts'
import { keepContent } from '../files/durable.ts'
import type { ManagedPostgres } from '../postgres/managed-postgres.ts'
import { makeDataDirectory } from '../postgres/new-directory.ts'
import { confInput } from '../postgres/postgres-options.ts'
import { syncTree } from '../postgres/sync-tree.ts'
import { told, type Work } from './progress.ts'
import { receiveBackup, type Progress } from './receive.ts'

/** What of the source's own settings a copy must not follow. */
export const NOT_OF_THE_SOURCE = { primary_conninfo: '', primary_slot_name: '' } as const

/**
 * Clones and tells how far it is; the last item has the status. Leaving the loop, or `signal`,
 * cancels the clone and removes what it made.
 * @throws PgError naming source and directory; nothing is left then.
 */
export function cloneFrom(
  postgres: ManagedPostgres,
  request: CloneRequest,
  signal: AbortSignal,
): AsyncGenerator<CloneProgress> {
  return told(postgres, signal, (work) => clone(postgres, request, work))
}

async function clone(
  postgres: ManagedPostgres,
  request: CloneRequest,
  { signal, onProgress }: Work,
): Promise<void> {
  const { options } = postgres
  const { dataDir, runAs, installation } = options
  let last: Progress = { phase: 'connecting', bytesDone: 0, bytesTotal: 0 }
  const progress = (next: Progress) => onProgress((last = next))
  const fill = async (directory: string) => {
    const { host, port, applicationName } = request
    const password = options.replicationPassword()
    const { major } = installation
    const from = { host, port, password, applicationName, major }
    await receiveBackup({ ...from, directory, runAs, signal, onProgress: progress })
    writeConf(directory, confInput(options))
    changeAutoConf(directory, { ...NOT_OF_THE_SOURCE, ...request.settings }, runAs)
    keepContent(`${directory}/standby.signal`, '', { runAs })
    progress({ ...last, phase: 'syncing' })
    await syncTree(directory, { installation, runAs, signal })
    signal.throwIfAborted()
  }
  const source = `${request.host}:${request.port}`
  const { replace } = request
  await postgres.fill('clone', { replace }, async () => {
    options.log.info('cloning', { source })
    await makeDataDirectory(dataDir, { runAs, replace }, fill).catch((cause: unknown) => {
      throw explained(cause, `clone of ${source} into ${dataDir} failed while ${last.phase}`)
    })
    options.log.info('cloned', { source, bytes: last.bytesDone })
  })
}

/** The error with what was being tried, and a condition of its own for a disk that is full. */
function explained(cause: unknown, what: string): PgError {
  const why = cause instanceof Error ? cause.message : String(cause)
  if (cause instanceof PgError) return new PgError(cause.condition, `${what}: ${why}`, { cause })
  if (cause instanceof ServerError) {
    const said = `the source says: ${why} (${cause.sqlstate})`
    return new PgError('connection_failure', `${what}: ${said}`, { cause })
  }
  const code = (cause as NodeJS.ErrnoException | undefined)?.code
  const full = code === 'ENOSPC' || code === 'EDQUOT'
  return new PgError(full ? 'disk_full' : 'io_error', `${what}: ${why}`, { cause })
}
