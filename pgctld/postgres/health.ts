// Whether Postgres answers, known without asking: a probe runs in the background, so that Status is
// a lookup. A postmaster may be there and not answer (frozen, overloaded, still recovering).
import { timer } from '../../shared/time/clock.ts'
import { ask } from './ask.ts'
import { readPostmasterPid } from './postmaster-pid.ts'

const CANNOT_CONNECT_NOW = '57P03' // starting up, shutting down, in recovery without hot standby
const PROBE_TIMEOUT_MS = 3000
/** Between probes while it answers, and while it does not. Each costs Postgres a fork (2 ms). */
const EVERY_MS = { answering: 1000, waiting: 50 } as const

/** `silent`: it took the connection and said nothing for 3 s. */
export type Health = 'accepting' | 'rejecting' | 'absent' | 'silent'

/** Whom to probe. */
export interface ProbeOptions {
  readonly dataDir: string
  readonly socket: string
  readonly user: string
  readonly onChange: () => void
}

/** Probes one server until disposed; `current` is the newest result. */
export class HealthProbe implements Disposable {
  readonly #options: ProbeOptions
  #current: Health = 'absent'
  #next: Disposable | undefined
  #disposed = false

  constructor(options: ProbeOptions) {
    this.#options = options
    this.#schedule()
  }

  get current(): Health {
    return this.#current
  }

  /** Asks now and keeps the result. */
  async probe(): Promise<Health> {
    this.#next?.[Symbol.dispose]()
    const health = await probe(this.#options)
    const changed = health !== this.#current
    this.#current = health
    this.#schedule()
    if (changed && !this.#disposed) this.#options.onChange()
    return health
  }

  [Symbol.dispose](): void {
    this.#disposed = true
    this.#next?.[Symbol.dispose]()
  }

  #schedule(): void {
    if (this.#disposed) return
    const ms = this.#current === 'accepting' ? EVERY_MS.answering : EVERY_MS.waiting
    this.#next?.[Symbol.dispose]()
    this.#next = timer(ms, () => void this.probe(), { ref: false })
  }
}

async function probe({ dataDir, socket, user }: ProbeOptions): Promise<Health> {
  // Whoever connects before it is ready leaves a FATAL in its log; the file tells as well.
  const status = readPostmasterPid(dataDir)?.status
  if (status !== 'ready' && status !== 'standby') return 'rejecting'
  const answer = await ask({ socket, user, timeoutMs: PROBE_TIMEOUT_MS })
  switch (answer.kind) {
    case 'rows':
      return 'accepting'
    case 'refused': // "too many connections" is an answer as well
      return answer.sqlstate === CANNOT_CONNECT_NOW ? 'rejecting' : 'accepting'
    case 'absent':
      return 'absent'
    case 'silent':
      return 'silent'
  }
}
