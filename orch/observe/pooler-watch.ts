// One pooler's status, as it streams it. A stream that breaks takes nothing back: the last status
// stays, and grows old.
import { PoolerClient, type StatusReply } from '../../proto/gen/pooler.ts'
import type { Logger } from '../../shared/log/logger.ts'
import { callStream } from '../../shared/rpc/client.ts'
import { RenewedClient } from '../../shared/rpc/renewed-client.ts'
import { backoff, interval, now, sleep } from '../../shared/time/clock.ts'

const RETRY = { minMs: 50, maxMs: 250 } as const

/** A stream that says nothing for so long is given up for a new one: it says much more often. */
const SILENT_MS_MAX = 2000
const LOOK_MS = 250

/** After a silence like this one, any status is news. */
const QUIET_MS_MAX = 500

/** Whom to watch, and whom to tell. */
export type PoolerWatchOptions = {
  readonly id: string
  /** `host:port`. */
  readonly address: string
  readonly token: string | undefined
  readonly log: Logger
  readonly changed: () => void
}

/** Watches until disposed; connects again for ever. */
export class PoolerWatch implements AsyncDisposable {
  readonly id: string
  readonly #line: RenewedClient<PoolerClient>
  readonly #options: PoolerWatchOptions
  readonly #ending = new AbortController()
  readonly #running: Promise<void>
  #status: StatusReply | undefined
  #receivedAtMs = 0
  #refusedAtMs: number | undefined

  constructor(options: PoolerWatchOptions, known?: StatusReply) {
    this.id = options.id
    this.#line = new RenewedClient(PoolerClient, options.address, { token: options.token })
    this.#options = options
    this.#status = known
    this.#receivedAtMs = Number.NEGATIVE_INFINITY
    this.#running = this.#run()
  }

  get address(): string {
    return this.#line.address
  }

  /** For one call: after a silence the next goes over another connection. */
  get client(): PoolerClient {
    return this.#line.client
  }

  /** The last one, of whatever age. */
  get status(): StatusReply | undefined {
    return this.#status
  }

  /** Of that status, in ms; Infinity when none came from this address yet. */
  get ageMs(): number {
    return now() - this.#receivedAtMs
  }

  /** For how long nothing has listened at its address; 0 while something does, or nobody knows. */
  get refusedMs(): number {
    return this.#refusedAtMs === undefined ? 0 : now() - this.#refusedAtMs
  }

  /** A newer status, from the answer to a call. */
  learn(status: StatusReply): void {
    if (status.id !== this.id) {
      // Somebody else listens at this address now; the directory will tell where ours went.
      this.#options.log.warn('another pooler answers', { pooler: this.id, answers: status.id })
      return
    }
    // Most only say that nothing has changed: its LSNs are read by whoever looks for another
    // reason.
    const news = this.#status?.sequence !== status.sequence || this.ageMs > QUIET_MS_MAX
    this.#status = status
    this.#receivedAtMs = now()
    this.#refusedAtMs = undefined
    if (news) this.#options.changed()
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { signal } = this.#ending
    const retry = backoff(RETRY)
    while (!signal.aborted) {
      try {
        for await (const status of this.#stream()) {
          this.learn(status)
          retry.reset()
        }
      } catch (error) {
        if (signal.aborted) return
        this.#refusedAtMs = isRefused(error) ? (this.#refusedAtMs ?? now()) : undefined
        this.#options.log.debug('status stream interrupted', { pooler: this.id, error })
      }
      await sleep(retry.next(), signal).catch(() => undefined) // disposed: the loop ends
    }
  }

  /** What one stream says. @throws RpcError when it breaks, or is silent for too long. */
  async *#stream(): AsyncGenerator<StatusReply> {
    const silent = new AbortController()
    let heardAtMs = now()
    using _look = interval(LOOK_MS, () => {
      if (now() - heardAtMs < SILENT_MS_MAX || silent.signal.aborted) return
      this.#line.renew()
      silent.abort()
    })
    const signal = AbortSignal.any([this.#ending.signal, silent.signal])
    const request = { header: undefined }
    for await (const status of callStream(this.client, 'watchStatus', request, { signal })) {
      heardAtMs = now()
      yield status
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort()
    await this.#running
    this.#line.close()
  }
}

/** The host answered that nothing listens there: the process is gone, not the way to it. */
function isRefused(error: unknown): boolean {
  return error instanceof Error && error.message.includes('ECONNREFUSED')
}
