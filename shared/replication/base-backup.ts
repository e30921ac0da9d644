// BASE_BACKUP of PostgreSQL 14 and of 15 to 18 as one sequence of events. 14 sends one COPY for
// each archive, without the two empty blocks that end a tar file; since 15 all comes in one COPY
// whose pieces say what they are.
import { PgError } from '../errors/pg-error.ts'
import { query } from '../pgwire/frontend.ts'
import { parseLsn } from '../pgwire/lsn.ts'
import { Backend } from '../pgwire/message-types.ts'
import { ServerError } from '../pgwire/server-error.ts'
import { readResultSet, unexpected, type ResultRow } from './result.ts'
import type { WireStream } from './wire-stream.ts'

/**
 * A spread checkpoint takes as long as checkpoint_timeout allows, a fast one seconds to minutes.
 */
const CHECKPOINT_TIMEOUT_MS_DEFAULT = 15 * 60_000
const TAR_END = Buffer.alloc(1024)

/** What to back up, and how. */
export type BaseBackupOptions = {
  label?: string
  /** `fast` by default: a checkpoint at once, at full speed. */
  checkpoint?: 'fast' | 'spread'
  /** Puts the WAL that the backup needs into it. True by default: it can be started as it is. */
  wal?: boolean
  manifest?: 'yes' | 'no' | 'force-encode'
  manifestChecksums?: 'NONE' | 'CRC32C' | 'SHA224' | 'SHA256' | 'SHA384' | 'SHA512'
  /** Makes the server estimate sizes first and, since 15, report how far it is. */
  progress?: boolean
  /** Puts a tablespace_map file into the archive in place of symbolic links. */
  tablespaceMap?: boolean
  /** Kilobytes per second, 32 to 1048576; undefined for as fast as it goes. */
  rateMaxKb?: number
  /** Longest wait for the checkpoint with which the server begins. */
  checkpointTimeoutMs?: number
  signal?: AbortSignal
}

/** A tablespace beside those in the data directory. */
export type BackupTablespace = { oid: number; location: string; sizeBytes: number | undefined }

/**
 * What happens in a backup, in this order: `start`; for each archive `archive`, then its `data`;
 * then `manifest` and its `data`; `end`. `progress` comes in between. Buffers stay intact as long
 * as they are held.
 */
export type BaseBackupEvent =
  | {
      kind: 'start'
      lsn: bigint
      timeline: number
      tablespaces: BackupTablespace[]
      /** Estimate of the whole, tablespaces included, when `progress` was asked for. */
      sizeBytes: number | undefined
    }
  /** A tar file begins: 'base.tar', or 'OID.tar' of the tablespace at `location`. */
  | { kind: 'archive'; name: string; location: string }
  | { kind: 'manifest' }
  | { kind: 'data'; bytes: Buffer }
  | { kind: 'progress'; doneBytes: bigint }
  | { kind: 'end'; lsn: bigint; timeline: number }

/** The command for a server of `major`. */
export function baseBackupCommand(options: BaseBackupOptions, major: number): string {
  const label = quoted(options.label ?? 'multigres')
  const { manifest = 'yes', manifestChecksums = 'SHA256', wal = true, rateMaxKb } = options
  const fast = options.checkpoint !== 'spread'
  const flag = (name: string, on: boolean | undefined) => (on === true ? [name] : [])
  const checksums = manifest === 'no' ? [] : [`MANIFEST_CHECKSUMS ${quoted(manifestChecksums)}`]
  const shared = [
    `LABEL ${label}`,
    ...flag('PROGRESS', options.progress),
    ...flag('TABLESPACE_MAP', options.tablespaceMap),
    ...(rateMaxKb === undefined ? [] : [`MAX_RATE ${Math.trunc(rateMaxKb)}`]),
    `MANIFEST ${quoted(manifest)}`,
    ...checksums,
  ]
  if (major < 15) {
    const own = [...flag('FAST', fast), ...(wal ? ['WAL', 'NOWAIT'] : [])]
    return `BASE_BACKUP ${[...shared, ...own].join(' ')}`
  }
  const own = [`CHECKPOINT '${fast ? 'fast' : 'spread'}'`, ...(wal ? ['WAL', 'WAIT false'] : [])]
  return `BASE_BACKUP (${[...shared, ...own].join(', ')})`
}

/** Runs a base backup on `stream`. See ReplicationConnection.baseBackup. */
export async function* baseBackup(
  stream: WireStream,
  options: BaseBackupOptions & { serverMajor: number },
): AsyncGenerator<BaseBackupEvent, void> {
  const { serverMajor, signal } = options
  const abort = () => stream.fail(signal?.reason as Error)
  signal?.throwIfAborted()
  signal?.addEventListener('abort', abort, { once: true })
  let finished = false
  try {
    await stream.send(query(baseBackupCommand(options, serverMajor)))
    const start = await readStart(stream, options.checkpointTimeoutMs)
    yield start.event
    yield* serverMajor < 15 ? archivesOf14(stream, start.rows) : archives(stream)
    const [end] = await readResultSet(stream)
    while ((await stream.next()) !== Backend.ReadyForQuery) {
      if (stream.reader.type !== Backend.CommandComplete) await unexpected(stream)
    }
    finished = true
    yield { kind: 'end', ...position(end) }
  } catch (error) {
    finished = error instanceof ServerError // that leaves the connection in step
    throw error
  } finally {
    signal?.removeEventListener('abort', abort)
    if (!finished) stream.fail(new PgError('query_canceled', 'the base backup was left'))
  }
}

async function readStart(stream: WireStream, timeoutMs = CHECKPOINT_TIMEOUT_MS_DEFAULT) {
  const [start] = await readResultSet(stream, timeoutMs)
  const rows = await readResultSet(stream, timeoutMs) // estimating sizes reads all directories
  const sizes = rows.map((row) => sizeOf(row))
  const tablespaces = rows.flatMap((row, at) =>
    !row[0] ? [] : [{ oid: Number(row[0]), location: String(row[1]), sizeBytes: sizes[at] }],
  )
  const known = sizes.filter((size) => size !== undefined)
  const sizeBytes = known.length === 0 ? undefined : known.reduce((sum, size) => sum + size, 0)
  const event = { kind: 'start' as const, ...position(start), tablespaces, sizeBytes }
  return { event, rows }
}

/** One COPY; each CopyData starts with a byte that says what it is. */
async function* archives(stream: WireStream): AsyncGenerator<BaseBackupEvent, void> {
  const { reader } = stream
  if ((await stream.next()) !== Backend.CopyOutResponse) await unexpected(stream)
  for (;;) {
    const type = await stream.next()
    if (type === Backend.CopyDone) return
    if (type !== Backend.CopyData) await unexpected(stream)
    const kind = String.fromCharCode(reader.uint8())
    if (kind === 'd') yield { kind: 'data', bytes: reader.rest() }
    else if (kind === 'p') yield { kind: 'progress', doneBytes: reader.int64() }
    else if (kind === 'm') yield { kind: 'manifest' }
    else if (kind === 'n') {
      yield { kind: 'archive', name: reader.cstring(), location: reader.cstring() }
    } else throw new PgError('protocol_violation', `unknown piece of a base backup: ${kind}`)
  }
}

/** One COPY for each row of the tablespaces' result set, then one for the manifest. */
async function* archivesOf14(
  stream: WireStream,
  rows: readonly ResultRow[],
): AsyncGenerator<BaseBackupEvent, void> {
  for (const [oid, location] of rows) {
    if ((await stream.next()) !== Backend.CopyOutResponse) await unexpected(stream)
    const name = !oid ? 'base.tar' : `${String(oid)}.tar`
    yield { kind: 'archive', name, location: location?.toString() ?? '' }
    yield* copyOut(stream)
    yield { kind: 'data', bytes: TAR_END }
  }
  // The manifest is the COPY more, or the last result set begins at once.
  if ((await stream.next()) !== Backend.CopyOutResponse) return stream.again()
  yield { kind: 'manifest' }
  yield* copyOut(stream)
}

async function* copyOut(stream: WireStream): AsyncGenerator<BaseBackupEvent, void> {
  for (;;) {
    const type = await stream.next()
    if (type === Backend.CopyDone) return
    if (type !== Backend.CopyData) await unexpected(stream)
    yield { kind: 'data', bytes: stream.reader.rest() }
  }
}

/** The server counts in kilobytes. */
function sizeOf(row: ResultRow): number | undefined {
  return row[2] ? Number(row[2]) * 1024 : undefined
}

function position(row: ResultRow | undefined): { lsn: bigint; timeline: number } {
  if (row === undefined || row.length < 2) {
    throw new PgError('protocol_violation', 'unexpected answer to BASE_BACKUP')
  }
  return { lsn: parseLsn(String(row[0])), timeline: Number(row[1]) }
}

/** A literal of the replication grammar, which knows no escapes but the doubled quote. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
