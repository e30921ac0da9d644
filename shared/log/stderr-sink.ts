import { writeSync } from 'node:fs'
import { timer } from '../time/clock.ts'

const STDERR_FD = 2
const HELD_BYTES_MAX = 4 * 2 ** 20
const RETRY_MS = 20

/**
 * Writes lines to stderr at once, so that a crash loses none. What a non-blocking pipe does not
 * take is held, up to 4 MB, and tried again; beyond that lines are dropped and counted. A reader
 * that went away is no reason to fail. (pino's own sonic-boom stops for ever on Bun when a pipe
 * is full while it flushes.)
 */
export class StderrSink {
  readonly #write: (bytes: Buffer) => number
  #held: Buffer[] = []
  #heldBytes = 0
  #dropped = 0
  #retrying = false

  /** `write` puts bytes out and says how many it took; it throws EAGAIN when none. */
  constructor(write: (bytes: Buffer) => number = (bytes) => writeSync(STDERR_FD, bytes)) {
    this.#write = write
  }

  /** Takes one line with its newline. Never throws. */
  write(line: string): void {
    const bytes = Buffer.from(line)
    if (this.#heldBytes + bytes.length > HELD_BYTES_MAX) this.#dropped += 1
    else {
      this.#held.push(bytes)
      this.#heldBytes += bytes.length
    }
    this.flush()
  }

  /** Writes what is held as far as stderr takes it now. */
  flush(): void {
    while (this.#held.length > 0) {
      const first = this.#held[0] ?? Buffer.alloc(0)
      const count = this.#put(first)
      if (count === undefined) return this.#later()
      this.#heldBytes -= count
      if (count < first.length) this.#held[0] = first.subarray(count)
      else this.#held.shift()
      this.#admitDropped()
    }
  }

  #admitDropped(): void {
    if (this.#dropped === 0 || this.#held.length > 0) return
    const message = `${this.#dropped} log lines dropped: stderr was not read`
    this.#dropped = 0
    this.#held.push(Buffer.from(`${JSON.stringify({ level: 'warn', message })}\n`))
    this.#heldBytes += this.#held[0]?.length ?? 0
  }

  /** Bytes taken, or undefined when stderr is full. A broken pipe takes everything. */
  #put(bytes: Buffer): number | undefined {
    try {
      return this.#write(bytes)
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      return code === 'EAGAIN' ? undefined : bytes.length
    }
  }

  #later(): void {
    if (this.#retrying) return
    this.#retrying = true
    const retry = (): void => {
      this.#retrying = false
      this.flush()
    }
    timer(RETRY_MS, retry, { ref: false })
  }
}
