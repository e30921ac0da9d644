// The promise file: outside PGDATA, so that a restore of the data cannot roll a promise back.
//
// Invariants. What `state` gives has been fsynced. The file has its full size from the start and is
// only ever overwritten in place, so a full disk cannot stop a promise. A torn write leaves the
// previous state, and the write was not answered yet. A file that is there but unreadable is never
// replaced: to forget a promise is to vote twice.
import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PgError } from '../../shared/errors/pg-error.ts'
import { formatState, newPromiseState, parseState, type PromiseState } from './promise-state.ts'
import { encodeSlot, FILE_BYTES, newestSlot, slotOffset } from './promise-slots.ts'

const FILE_NAME = 'promises.json'

/**
 * One pooler's promises. One process opens it at a time: pgctld's lock and the ports see to that.
 */
export class PromiseFile implements AsyncDisposable {
  readonly path: string
  readonly #file: FileHandle
  #sequence: bigint
  #state: PromiseState
  #writing: Promise<unknown> = Promise.resolve()

  private constructor(
    path: string,
    file: FileHandle,
    at: { sequence: bigint; state: PromiseState },
  ) {
    this.path = path
    this.#file = file
    this.#sequence = at.sequence
    this.#state = at.state
  }

  /**
   * Opens the file of `stateDir`; undefined when there is none.
   * @throws PgError data_corrupted when it is there and neither slot is whole.
   */
  static async open(stateDir: string): Promise<PromiseFile | undefined> {
    const path = join(stateDir, FILE_NAME)
    const file = await openExisting(path)
    if (file === undefined) return undefined
    try {
      const bytes = Buffer.alloc(FILE_BYTES)
      await file.read(bytes, 0, FILE_BYTES, 0)
      const slot = newestSlot(bytes)
      if (slot === undefined) throw new PgError('data_corrupted', `${path}: no slot is readable`)
      return new PromiseFile(path, file, { ...slot, state: parseState(slot.json) })
    } catch (error) {
      await file.close()
      throw error
    }
  }

  /**
   * Makes the file with a new incarnation. For a member without data only: it remembers nothing.
   */
  static async create(stateDir: string): Promise<PromiseFile> {
    const path = join(stateDir, FILE_NAME)
    const json = formatState(newPromiseState())
    await mkdir(stateDir, { recursive: true })
    const temporary = `${path}.new`
    await writeDurably(
      temporary,
      Buffer.concat([encodeSlot({ sequence: 0n, json }), encodeSlot({ sequence: 1n, json })]),
    )
    await rename(temporary, path)
    await syncDirectory(dirname(path))
    const made = await PromiseFile.open(stateDir)
    if (made === undefined) throw new PgError('io_error', `${path} vanished`)
    return made
  }

  /** On disk, all of it. */
  get state(): PromiseState {
    return this.#state
  }

  /** Writes the change, fsyncs it, and only then lets `state` show it. Updates run one by one. */
  update(change: Partial<PromiseState>): Promise<void> {
    const run = this.#writing.then(() => this.#write({ ...this.#state, ...change }))
    this.#writing = run.catch(() => undefined) // told to that caller; the next one is its own
    return run
  }

  async #write(state: PromiseState): Promise<void> {
    const sequence = this.#sequence + 1n
    const bytes = encodeSlot({ sequence, json: formatState(state) })
    const { bytesWritten } = await this.#file.write(bytes, 0, bytes.length, slotOffset(sequence))
    if (bytesWritten !== bytes.length) throw new PgError('io_error', `${this.path}: short write`)
    await this.#file.datasync()
    this.#sequence = sequence
    this.#state = state
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing
    await this.#file.close()
  }
}

async function openExisting(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, constants.O_RDWR)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

async function writeDurably(path: string, bytes: Buffer): Promise<void> {
  await using file = await open(path, 'w', 0o600)
  await file.writeFile(bytes)
  await file.sync()
}

async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, constants.O_RDONLY)
  await directory.sync()
}
