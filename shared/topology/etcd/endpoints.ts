// Which member of etcd is asked. Invariant: a write is sent once. When its answer is lost it may
// have happened, and sent again it could undo what another wrote since or report a conflict with
// itself; so it goes only to a member that has just answered, and a failure is the caller's to
// judge. Reads are repeated freely. etcd3's own pool repeats both, and its circuit breaker refuses
// a member for 5 s that is back after one: neither is used.
import type { CallOptions } from '@grpc/grpc-js'
import type { Etcd3, IOptions } from 'etcd3'
import { now, sleep, wallTimeMs } from '../../time/clock.ts'
import { TopologyError } from '../topology.ts'
import { toTopologyError, type EtcdLibrary } from './etcd-errors.ts'

/** One answer of one member. An election takes about as long. */
const ATTEMPT_MS = 2000
/** A write waits out an election, in which it cannot be repeated elsewhere. */
const WRITE_MS = 3000
/** A read goes round the members for so long before it is `unavailable`. */
const READ_MS = 3000
const ROUND_PAUSE_MS = 100
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024
const RECONNECT_MS_MIN = 100
const RECONNECT_MS_MAX = 1000
// A member that vanished without a FIN; etcd takes offence at pings closer than 5 s.
const KEEPALIVE_MS = 6000
const KEEPALIVE_ANSWER_MS = 2000

type Policy = NonNullable<NonNullable<IOptions['faultHandling']>['global']>
type Call<T> = (client: Etcd3, options: CallOptions) => Promise<T>

/** One etcd3 client for each member, and which of them to ask. Owns and closes them. */
export class Endpoints implements Disposable {
  readonly #library: EtcdLibrary
  readonly #clients: readonly Etcd3[]
  readonly #closed = new AbortController()
  #at: number
  #answered: Etcd3 | undefined // the member that answered last, unless it failed since

  constructor(library: EtcdLibrary, options: { hosts: readonly string[]; first: number }) {
    this.#library = library
    this.#clients = options.hosts.map((host) => newClient(library, host))
    this.#at = options.first % this.#clients.length
  }

  /** Asks the members in turn until one answers. @throws TopologyError */
  async read<T>(call: Call<T>): Promise<T> {
    const giveUpAt = now() + READ_MS
    for (let attempts = 1; ; attempts++) {
      const client = this.#current()
      try {
        return await this.#attempt(client, call, ATTEMPT_MS)
      } catch (error) {
        if (!isUnavailable(error) || now() >= giveUpAt) throw error
        if (attempts % this.#clients.length === 0) await this.#pause()
      }
    }
  }

  /** Sends one request to a member that has just answered. @throws TopologyError */
  async write<T>(call: Call<T>): Promise<T> {
    return await this.#attempt(await this.ready(), call, WRITE_MS)
  }

  /**
   * A member that answered last time, found by a linearizable read where none has. @throws as read
   */
  async ready(): Promise<Etcd3> {
    if (this.#answered !== undefined) return this.#answered
    const key = Buffer.from('\0')
    return await this.read(async (client, options) => {
      await client.kv.range({ key, count_only: true }, options)
      return client
    })
  }

  /**
   * What an error of this member's means. If it cannot be reached, the next one is asked from now.
   */
  failed(client: Etcd3, cause: unknown): TopologyError {
    if (this.#closed.signal.aborted) return new TopologyError('closed', 'the topology was closed')
    const error = toTopologyError(this.#library, cause)
    if (!isUnavailable(error)) return error
    if (this.#answered === client) this.#answered = undefined
    if (this.#clients[this.#at] === client) this.#at = (this.#at + 1) % this.#clients.length
    return error
  }

  [Symbol.dispose](): void {
    this.#closed.abort(new TopologyError('closed', 'the topology was closed'))
    for (const client of this.#clients) client.close()
  }

  async #attempt<T>(client: Etcd3, call: Call<T>, timeoutMs: number): Promise<T> {
    try {
      const answer = await call(client, { deadline: wallTimeMs() + timeoutMs })
      this.#answered = client
      return answer
    } catch (error) {
      throw this.failed(client, error)
    }
  }

  #current(): Etcd3 {
    this.#closed.signal.throwIfAborted()
    const client = this.#clients[this.#at]
    if (client === undefined) throw new TopologyError('invalid', 'etcd without members')
    return client
  }

  async #pause(): Promise<void> {
    await sleep(ROUND_PAUSE_MS, this.#closed.signal)
  }
}

function newClient(library: EtcdLibrary, host: string): Etcd3 {
  return new library.Etcd3({
    hosts: [host],
    grpcOptions: {
      // A shared one would hand the dead connection to the channel that replaces the first.
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
      'grpc.initial_reconnect_backoff_ms': RECONNECT_MS_MIN,
      'grpc.max_reconnect_backoff_ms': RECONNECT_MS_MAX,
      'grpc.keepalive_time_ms': KEEPALIVE_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_ANSWER_MS,
    },
    faultHandling: { global: straightThrough, host: () => straightThrough },
  })
}

/** A policy that does nothing: every failure comes back at once, and is ours to judge. */
const straightThrough: Policy = {
  _altReturn: undefined as never, // a type's trace, never read
  onSuccess: () => ({ dispose() {} }),
  onFailure: () => ({ dispose() {} }),
  async execute(call, signal = new AbortController().signal) {
    return await call({ signal })
  },
}

function isUnavailable(error: unknown): boolean {
  return error instanceof TopologyError && error.condition === 'unavailable'
}
