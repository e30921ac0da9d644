// Receives a base backup into an empty directory and proves that it is what the source sent.
import { PgError } from '../../shared/errors/pg-error.ts'
import type { BaseBackupEvent } from '../../shared/replication/base-backup.ts'
import { ReplicationConnection } from '../../shared/replication/replication-connection.ts'
import { REPLICATION_ROLE } from '../conf/hba.ts'
import type { RunAs } from '../postgres/run-as.ts'
import { compareWithManifest, parseManifest } from './manifest.ts'
import { Unpacker } from './unpack.ts'

/** Where from, into what. */
export interface ReceiveOptions {
  readonly host: string
  readonly port: number
  readonly password: string | undefined
  readonly applicationName: string
  /** The major that this server's programs are of. */
  readonly major: number
  readonly directory: string
  readonly runAs: RunAs
  readonly signal: AbortSignal
  readonly onProgress: (progress: Progress) => void
}

/** How far it is. `bytesTotal` is the source's estimate, WAL apart. */
export interface Progress {
  readonly phase: 'connecting' | 'checkpoint' | 'streaming' | 'verifying' | 'rewinding' | 'syncing'
  readonly bytesDone: number
  readonly bytesTotal: number
}

/** A manifest names every file in some 150 bytes: this is a database of 3 million files. */
const MANIFEST_BYTES_MAX = 512 * 1024 * 1024

/** Streams, unpacks and verifies; nothing is flushed yet. @throws PgError, ServerError. */
export async function receiveBackup(options: ReceiveOptions): Promise<void> {
  const { host, port, password, applicationName, signal, onProgress } = options
  onProgress({ phase: 'connecting', bytesDone: 0, bytesTotal: 0 })
  using connection = await ReplicationConnection.connect({
    address: { host, port },
    user: REPLICATION_ROLE,
    secret: password === undefined ? undefined : { password },
    applicationName,
    signal,
  })
  requireMajor(connection.serverMajor, options.major)
  onProgress({ phase: 'checkpoint', bytesDone: 0, bytesTotal: 0 })
  const events = connection.baseBackup({
    label: `clone for ${applicationName}`,
    checkpoint: 'fast',
    wal: true,
    manifestChecksums: 'SHA256',
    progress: true,
    signal,
  })
  await unpackEvents(events, options)
  await connection.close()
}

async function unpackEvents(
  events: AsyncIterable<BaseBackupEvent>,
  { directory, runAs, onProgress }: ReceiveOptions,
): Promise<void> {
  await using received = new Received(directory, runAs)
  let bytesTotal = 0
  for await (const event of events) {
    if (event.kind === 'start') {
      requireOneTablespace(event.tablespaces.map((tablespace) => tablespace.location))
      bytesTotal = event.sizeBytes ?? 0
    }
    await received.take(event)
    const { bytesDone } = received
    onProgress({ phase: 'streaming', bytesDone, bytesTotal: Math.max(bytesTotal, bytesDone) })
  }
  const { bytesDone } = received
  onProgress({ phase: 'verifying', bytesDone, bytesTotal: bytesDone })
  received.verify()
}

/** What has come of a backup: one archive, then the manifest. */
class Received implements AsyncDisposable {
  bytesDone = 0
  readonly #unpacker: Unpacker
  readonly #manifest: Buffer[] = []
  #manifestBytes = 0
  #into: 'archive' | 'manifest' = 'archive'
  #ended = false

  constructor(directory: string, runAs: RunAs) {
    this.#unpacker = new Unpacker(directory, runAs)
  }

  async take(event: BaseBackupEvent): Promise<void> {
    if (event.kind === 'manifest') {
      await this.#unpacker.end()
      this.#into = 'manifest'
    } else if (event.kind === 'data') {
      if (this.#into === 'manifest') return this.#takeManifest(event.bytes)
      this.bytesDone += event.bytes.length
      await this.#unpacker.write(event.bytes)
    } else if (event.kind === 'end') this.#ended = true
  }

  /** @throws PgError data_corrupted when anything lacks or differs. */
  verify(): void {
    if (!this.#ended || this.#manifestBytes === 0) {
      throw new PgError('data_corrupted', 'the base backup ended before it was complete')
    }
    const listed = parseManifest(Buffer.concat(this.#manifest).toString('utf8'))
    compareWithManifest(listed, this.#unpacker.files)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#unpacker.abandon()
  }

  #takeManifest(bytes: Buffer): void {
    this.#manifestBytes += bytes.length
    if (this.#manifestBytes > MANIFEST_BYTES_MAX) {
      throw new PgError('program_limit_exceeded', 'the manifest of the base backup is too large')
    }
    this.#manifest.push(bytes)
  }
}

function requireMajor(source: number, own: number): void {
  if (source === own) return
  throw new PgError('feature_not_supported', `the source is PostgreSQL ${source}, this is ${own}`)
}

function requireOneTablespace(locations: readonly string[]): void {
  if (locations.length === 0) return
  const which = locations.join(', ')
  throw new PgError('feature_not_supported', `the source has tablespaces of its own: ${which}`)
}
