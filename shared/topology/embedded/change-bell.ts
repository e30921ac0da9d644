// Notices that some process wrote the file. File events come within a millisecond but get lost, so
// the file's change counter is asked besides; neither alone is enough.
import { watch, type FSWatcher } from 'node:fs'
import { basename, dirname } from 'node:path'
import { interval } from '../../time/clock.ts'

/** A change is noticed after this long at the latest (PRAGMA data_version costs 2-3 us). */
const POLL_MS = 40

/** Calls `look` when the file may have changed, as long as somebody listens. */
export class ChangeBell {
  readonly #path: string
  readonly #look: () => void
  readonly #listeners = new Set<() => void>()
  #poll: Disposable | undefined
  #watcher: FSWatcher | undefined

  /** `look` finds out whether there is anything new, and calls `ring` when there is. */
  constructor(path: string, look: () => void) {
    this.#path = path
    this.#look = look
  }

  /** Calls all listeners. */
  ring(): void {
    for (const listener of this.#listeners) listener()
  }

  /** Listens until disposed. */
  listen(listener: () => void): Disposable {
    const mine = () => listener()
    this.#listeners.add(mine)
    if (this.#listeners.size === 1) this.#start()
    return {
      [Symbol.dispose]: () => {
        this.#listeners.delete(mine)
        if (this.#listeners.size === 0) this.#stop()
      },
    }
  }

  #start(): void {
    this.#poll = interval(POLL_MS, this.#look)
    try {
      // The folder: the -wal file itself comes and goes with the connections.
      const name = basename(this.#path)
      this.#watcher = watch(dirname(this.#path), (_event, file) => {
        if (file?.startsWith(name) === true) this.#look()
      })
      this.#watcher.on('error', () => this.#watcher?.close())
    } catch {
      this.#watcher = undefined // no folder yet, or no watches left: the poll is enough
    }
  }

  #stop(): void {
    this.#poll?.[Symbol.dispose]()
    this.#watcher?.close()
    this.#poll = this.#watcher = undefined
  }
}
