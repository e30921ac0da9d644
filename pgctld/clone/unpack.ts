// Unpacks a tar stream into a directory while it arrives: one chunk in memory at a time, each file
// hashed on its way to the disk. Nothing is written outside the directory, whatever the names say.
import { chown, mkdir, open, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { extract, type Extract } from 'tar-stream'
import { PgError } from '../../shared/errors/pg-error.ts'
import type { RunAs } from '../postgres/run-as.ts'
import type { FileDigest } from './manifest.ts'

type Entry = Extract extends AsyncIterable<infer E> ? E : never

const FILE_MODE = 0o600
const DIRECTORY_MODE = 0o700

/** Writes one tar archive into `directory`. Feed it with `write`, then `end`. */
export class Unpacker {
  /** What was unpacked, by path within the directory; complete after `end`. */
  readonly files = new Map<string, FileDigest>()
  readonly #directory: string
  readonly #runAs: RunAs
  readonly #tar: Extract = extract()
  readonly #unpacking: Promise<void>
  #failure: Error | undefined

  constructor(directory: string, runAs: RunAs) {
    this.#directory = directory
    this.#runAs = runAs
    this.#unpacking = this.#unpackAll()
    this.#unpacking.catch((error: Error) => {
      this.#failure = error
      this.#tar.destroy(error)
    })
    this.#tar.on('error', (error: Error) => (this.#failure ??= error))
  }

  /** Takes the next bytes; resolves when it wants more. @throws what went wrong on the disk. */
  async write(bytes: Buffer): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#tar.write(bytes)) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#tar.once('drain', resolve)
    await Promise.race([promise, this.#unpacking]) // a failure of unpacking ends the wait as well
    if (this.#failure !== undefined) throw this.#failure
  }

  /** The archive is complete; resolves when all of it is written (not flushed). */
  async end(): Promise<void> {
    this.#tar.end(undefined)
    await this.#unpacking
  }

  /** Gives up; no file stays open. */
  async abandon(): Promise<void> {
    this.#tar.destroy(new Error('the archive was left')) // without an error its reader waits on
    await this.#unpacking.catch(() => undefined) // its error is known or of no interest any more
  }

  async #unpackAll(): Promise<void> {
    for await (const entry of this.#tar) await this.#unpackEntry(entry)
  }

  async #unpackEntry(entry: Entry): Promise<void> {
    const { name, type } = entry.header
    const path = safePath(name)
    if (type === 'directory') {
      entry.resume()
      if (path !== '') await this.#makeDirectory(join(this.#directory, path))
    } else if (type === 'file' || type === 'contiguous-file') {
      this.files.set(path, await this.#unpackFile(entry, join(this.#directory, path)))
    } else {
      throw new PgError(
        'feature_not_supported',
        `the backup has ${path}, a ${type ?? 'strange file'}`,
      )
    }
  }

  async #makeDirectory(path: string): Promise<void> {
    await mkdir(path, { recursive: true, mode: DIRECTORY_MODE })
    if (this.#runAs.drop) await chown(path, this.#runAs.uid, this.#runAs.gid)
  }

  async #unpackFile(entry: Entry, path: string): Promise<FileDigest> {
    const hash = new Bun.CryptoHasher('sha256')
    let sizeBytes = 0
    const file = await open(path, 'wx', FILE_MODE)
    try {
      if (this.#runAs.drop) await file.chown(this.#runAs.uid, this.#runAs.gid)
      for await (const chunk of entry as AsyncIterable<Buffer>) {
        hash.update(chunk)
        await writeAll(file, chunk)
        sizeBytes += chunk.length
      }
    } finally {
      await file.close()
    }
    return { sizeBytes, sha256: hash.digest('hex') }
  }
}

async function writeAll(file: FileHandle, chunk: Buffer): Promise<void> {
  for (let at = 0; at < chunk.length;) {
    at += (await file.write(chunk, at, chunk.length - at)).bytesWritten
  }
}

/** A name within the directory, without a trailing slash; '' is the directory itself. */
function safePath(name: string): string {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.')
  if (name.startsWith('/') || parts.includes('..')) {
    throw new PgError('data_corrupted', `the backup has a file outside its directory: ${name}`)
  }
  return parts.join('/')
}
