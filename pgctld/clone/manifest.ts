// backup_manifest: the source's own list of what it sent, with sizes and checksums.
// Source: PostgreSQL manual, "Backup Manifest Format".
import { PgError } from '../../shared/errors/pg-error.ts'

/** One file as the manifest lists it and as it was received. */
export interface FileDigest {
  readonly sizeBytes: number
  /** SHA-256 in lower-case hex. */
  readonly sha256: string
}

/** What we keep out of the comparison: WAL is in no manifest, recovery checks its records' CRCs. */
const NOT_LISTED = /^(pg_wal\/|backup_manifest$)/

/**
 * Parses a manifest with SHA-256 checksums. Its last line has the checksum of all before it.
 * @throws PgError data_corrupted when it is no such manifest or was changed on its way.
 */
export function parseManifest(text: string): Map<string, FileDigest> {
  const end = text.lastIndexOf('\n', text.length - 2) + 1
  const sum = new Bun.CryptoHasher('sha256').update(text.slice(0, end)).digest('hex')
  const manifest = readJson(text)
  if (manifest['Manifest-Checksum'] !== sum) throw corrupt('its own checksum is wrong')
  const files = new Map<string, FileDigest>()
  for (const file of listOf(manifest['Files'])) {
    const path = pathOf(file)
    if (file['Checksum-Algorithm'] !== 'SHA256') throw corrupt(`${path} has no SHA-256`)
    const sha256 = String(file['Checksum']).toLowerCase()
    files.set(path, { sizeBytes: Number(file['Size']), sha256 })
  }
  return files
}

/**
 * Compares what was received with what the manifest lists.
 * @throws PgError data_corrupted naming the first file that differs, lacks, or is one too many.
 */
export function compareWithManifest(
  listed: ReadonlyMap<string, FileDigest>,
  received: ReadonlyMap<string, FileDigest>,
): void {
  for (const [path, file] of listed) {
    const got = received.get(path)
    if (got === undefined) throw corrupt(`${path} was not sent`)
    if (got.sizeBytes !== file.sizeBytes) {
      throw corrupt(`${path} has ${got.sizeBytes} bytes, not ${file.sizeBytes}`)
    }
    if (got.sha256 !== file.sha256) throw corrupt(`${path} has another checksum`)
  }
  for (const path of received.keys()) {
    if (!listed.has(path) && !NOT_LISTED.test(path)) throw corrupt(`${path} is not listed`)
  }
}

type Json = Readonly<Record<string, unknown>>

function readJson(text: string): Json {
  try {
    return JSON.parse(text) as Json
  } catch (cause) {
    throw corrupt('it is not JSON', cause)
  }
}

function listOf(value: unknown): Json[] {
  if (!Array.isArray(value)) throw corrupt('it has no list of files')
  return value as Json[]
}

/** A path that is not UTF-8 is given in hex. */
function pathOf(file: Json): string {
  const encoded = file['Encoded-Path']
  if (typeof encoded === 'string') return Buffer.from(encoded, 'hex').toString('latin1')
  return String(file['Path'])
}

const corrupt = (why: string, cause?: unknown) =>
  new PgError('data_corrupted', `backup_manifest: ${why}`, { cause })
