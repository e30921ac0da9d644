// One watch stream of etcd, read without etcd3's Watcher. That one takes the revision of the reply
// "created" for what it has delivered, so that a second break before the backlog came loses it; and
// after a compaction it emits one `error` and is dead for ever. Here only events move the position,
// and every end of the stream is an error that the watch loop answers.
import type { ClientDuplexStream, Interceptor } from '@grpc/grpc-js'
import type { IWatchRequest, IWatchResponse } from 'etcd3'
import { interval, now } from '../../time/clock.ts'
import { TopologyError } from '../topology.ts'
import type { Change } from '../watch-loop.ts'
import type { Endpoints } from './endpoints.ts'
import type { Keyspace } from './keyspace.ts'

/** After so long a silence the member is asked how far it is ... */
const SILENCE_MS = 2000
/** ... and given up when it has not said a word for so long: a connection can die unseen. */
const SILENCE_MS_MAX = 4000
const SILENCE_CHECK_MS = 500

type Stream = ClientDuplexStream<IWatchRequest, IWatchResponse>
type Request = { prefix: string; from: bigint; signal: AbortSignal }

/** As WatchSource.changes. */
export async function* etcdChanges(
  endpoints: Endpoints,
  keyspace: Keyspace,
  { prefix, from, signal }: Request,
): AsyncGenerator<Change[]> {
  const client = await endpoints.ready()
  const options = { interceptors: [await requireLeader()] }
  // What etcd3 returns is more than the interface it declares.
  const stream = (await client.watchClient.watch(options)) as unknown as Stream
  const cancel = () => stream.cancel()
  if (signal.aborted) cancel()
  signal.addEventListener('abort', cancel, { once: true })
  using silence = new Silence(stream)
  try {
    stream.write({ create_request: { ...keyspace.range(prefix), start_revision: String(from) } })
    for await (const response of stream as AsyncIterable<IWatchResponse>) {
      const changes = readChanges(response, { from, keyspace })
      silence.end()
      if (changes.length > 0) yield changes
      silence.begin() // how long the consumer took does not count
    }
    throw new TopologyError('unavailable', 'etcd ended the watch')
  } catch (error) {
    if (!signal.aborted) throw endpoints.failed(client, error)
  } finally {
    signal.removeEventListener('abort', cancel)
    stream.cancel()
  }
}

/** @throws TopologyError compacted, unavailable when the response ends the watch */
function readChanges(response: IWatchResponse, at: { from: bigint; keyspace: Keyspace }): Change[] {
  if (response.canceled) {
    // A compaction comes with an empty reason; what tells it is the revision.
    const compacted = response.compact_revision !== '0'
    const why = compacted ? `compacted at ${response.compact_revision}` : response.cancel_reason
    throw new TopologyError(compacted ? 'compacted' : 'unavailable', `etcd ended the watch: ${why}`)
  }
  // An etcd restored from a backup: its history has not come as far as we have.
  if (response.created && BigInt(response.header.revision) < at.from - 1n) {
    throw new TopologyError('compacted', `etcd is at revision ${response.header.revision} only`)
  }
  return response.events.map(({ type, kv }) => ({
    key: at.keyspace.localKey(kv.key),
    revision: BigInt(kv.mod_revision),
    // The wire's name is in capitals, the declared type is not.
    ...(type.toUpperCase() === 'PUT' && { entry: at.keyspace.entry(kv) }),
  }))
}

/** Ends a stream whose other side says nothing, not even when asked. */
class Silence implements Disposable {
  readonly #stream: Stream
  readonly #check: Disposable
  #sinceMs: number | undefined = now()

  constructor(stream: Stream) {
    this.#stream = stream
    this.#check = interval(SILENCE_CHECK_MS, () => this.#look(), { ref: false })
  }

  begin(): void {
    this.#sinceMs = now()
  }

  end(): void {
    this.#sinceMs = undefined
  }

  [Symbol.dispose](): void {
    this.#check[Symbol.dispose]()
  }

  #look(): void {
    const silentMs = this.#sinceMs === undefined ? 0 : now() - this.#sinceMs
    if (silentMs >= SILENCE_MS_MAX) this.#stream.cancel()
    else if (silentMs >= SILENCE_MS) this.#stream.write({ progress_request: {} })
  }
}

/** A member cut off from its leader then ends the watch instead of keeping quiet. */
async function requireLeader(): Promise<Interceptor> {
  const { InterceptingCall } = await import('@grpc/grpc-js')
  return (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start(metadata, listener, next) {
        metadata.set('hasleader', 'true')
        next(metadata, listener)
      },
    })
}
