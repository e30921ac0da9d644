import {
  credentials,
  InterceptingCall,
  Metadata,
  type CallOptions,
  type ChannelCredentials,
  type Client,
  type ClientOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  type Interceptor,
  type ServiceError,
} from '@grpc/grpc-js'
import { Code } from '../errors/grpc-code.ts'
import { wallTimeMs } from '../time/clock.ts'
import { RpcError, rpcErrorOf } from './status.ts'

/** How fast a client tries again, and how it notices a peer that went away without a word. */
const CHANNEL: ClientOptions = {
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1000,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5000,
  'grpc.enable_retries': 0, // whether a call may run twice is for its caller to say
}

/** What ts-proto generates for a service. */
export type ClientConstructor<C extends Client> = new (
  address: string,
  credentials: ChannelCredentials,
  options?: Partial<ClientOptions>,
) => C

/** Proof of who we are, and of who they are. */
export interface RpcClientOptions {
  token: string | undefined
  /** PEM of the authority that the peer's certificate must be of; without it the line is plain. */
  tlsCa?: string
  /** It shares no connection with other clients of the address. */
  alone?: boolean
}

/**
 * A client of `HOST:PORT` or `unix:PATH`; connects when first used and again by itself. Its owner
 * closes it by `close()`.
 */
export function rpcClient<C extends Client>(
  Service: ClientConstructor<C>,
  address: string,
  options: RpcClientOptions,
): C {
  const { token, tlsCa, alone = false } = options
  const line =
    tlsCa === undefined ? credentials.createInsecure() : credentials.createSsl(Buffer.from(tlsCa))
  const interceptors = token === undefined ? [] : [withToken(token)]
  const own = alone ? { 'grpc.use_local_subchannel_pool': 1 } : {}
  return new Service(address, line, { ...CHANNEL, ...own, interceptors })
}

function withToken(token: string): Interceptor {
  return (options, nextCall) =>
    new InterceptingCall(nextCall(options), {
      start(metadata, listener, next) {
        metadata.set('authorization', `Bearer ${token}`)
        next(metadata, listener)
      },
    })
}

type UnaryMethod = (
  request: never,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, reply: unknown) => void,
) => ClientUnaryCall
type StreamMethod = (
  request: never,
  metadata: Metadata,
  options?: Partial<CallOptions>,
) => ClientReadableStream<unknown>

/** The names of a client's methods of one kind. */
type MethodsOf<C, M> = { [K in keyof C]: C[K] extends M ? K : never }[keyof C] & string

type UnaryRequest<M> = M extends (
  request: infer Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, reply: infer _Reply) => void,
) => ClientUnaryCall
  ? Request
  : never
type UnaryReply<M> = M extends (
  request: infer _Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, reply: infer Reply) => void,
) => ClientUnaryCall
  ? Reply
  : never
type StreamRequest<M> = M extends (
  request: infer Request,
  metadata: Metadata,
  options?: Partial<CallOptions>,
) => ClientReadableStream<infer _Reply>
  ? Request
  : never
type StreamReply<M> = M extends (
  request: infer _Request,
  metadata: Metadata,
  options?: Partial<CallOptions>,
) => ClientReadableStream<infer Reply>
  ? Reply
  : never

/** Calls a method with one reply. @throws RpcError, also when time is up or `signal` aborted. */
export function callUnary<C extends Client, K extends MethodsOf<C, UnaryMethod>>(
  client: C,
  method: K,
  request: UnaryRequest<C[K]>,
  options: { timeoutMs: number; signal?: AbortSignal },
): Promise<UnaryReply<C[K]>> {
  const { timeoutMs, signal } = options
  const { promise, resolve, reject } = Promise.withResolvers<UnaryReply<C[K]>>()
  if (signal?.aborted) {
    reject(new RpcError(Code.CANCELLED, `${method}: cancelled`, { cause: signal.reason }))
    return promise
  }
  const cancel = (): void => call.cancel()
  const done = (error: ServiceError | null, reply: UnaryReply<C[K]>): void => {
    signal?.removeEventListener('abort', cancel)
    if (error === null) resolve(reply)
    else reject(rpcErrorOf(method, error))
  }
  const run = client[method] as (
    request: UnaryRequest<C[K]>,
    metadata: Metadata,
    options: Partial<CallOptions>,
    callback: typeof done,
  ) => ClientUnaryCall
  const deadline = wallTimeMs() + timeoutMs
  let call: ClientUnaryCall
  try {
    call = run.call(client, request, new Metadata(), { deadline }, done)
  } catch (error) {
    // The client was closed: what it throws is no error of gRPC's.
    reject(new RpcError(Code.UNAVAILABLE, `${method}: ${String(error)}`, { cause: error }))
    return promise
  }
  signal?.addEventListener('abort', cancel, { once: true })
  return promise
}

/**
 * Calls a method with a stream of replies, read as fast as the loop takes them; leaving the loop
 * cancels the call. A peer that is gone is noticed by keepalive after 15 s when there is no
 * `timeoutMs`. @throws RpcError from the loop.
 */
export async function* callStream<C extends Client, K extends MethodsOf<C, StreamMethod>>(
  client: C,
  method: K,
  request: StreamRequest<C[K]>,
  options: { timeoutMs?: number; signal?: AbortSignal } = {},
): AsyncGenerator<StreamReply<C[K]>, void, void> {
  const { timeoutMs, signal } = options
  if (signal?.aborted)
    throw new RpcError(Code.CANCELLED, `${method}: cancelled`, { cause: signal.reason })
  const run = client[method] as (
    request: StreamRequest<C[K]>,
    metadata: Metadata,
    options: Partial<CallOptions>,
  ) => ClientReadableStream<StreamReply<C[K]>>
  const limits = timeoutMs === undefined ? {} : { deadline: wallTimeMs() + timeoutMs }
  const call = run.call(client, request, new Metadata(), limits)
  const cancel = (): void => call.cancel()
  signal?.addEventListener('abort', cancel, { once: true })
  try {
    for await (const reply of call) yield reply as StreamReply<C[K]>
  } catch (error) {
    throw isServiceError(error) ? rpcErrorOf(method, error) : error
  } finally {
    signal?.removeEventListener('abort', cancel)
    call.cancel()
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error
}
