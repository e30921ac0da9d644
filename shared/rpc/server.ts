import { unlinkSync } from 'node:fs'
import {
  logVerbosity,
  Server,
  ServerCredentials,
  setLogVerbosity,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type UntypedHandleCall,
} from '@grpc/grpc-js'
import { listenFailed, StartError } from '../lifecycle/start-error.ts'
import type { Logger } from '../log/logger.ts'
import { wallTimeMs, withDeadline } from '../time/clock.ts'
import { guard } from './guard.ts'
import { statusOf } from './status.ts'

const SHUTDOWN_MS_MAX = 500
const MESSAGE_BYTES_MAX = 4 * 2 ** 20

// It would print what we report ourselves, such as a busy port, in a line of its own on stderr.
setLogVerbosity(logVerbosity.NONE)

/** One handler for each method of a service, made by `unary` and `serverStream`. */
export type Handlers<S extends ServiceDefinition> = { [K in keyof S]: UntypedHandleCall }

/** A gRPC server of one process; disposing it gives calls under way half a second. */
export interface RpcServer extends AsyncDisposable {
  /** 0 on a unix socket. */
  readonly port: number
  add<S extends ServiceDefinition>(service: S, handlers: Handlers<S>): void
}

/** Where to listen and who may call. */
export interface RpcServerOptions {
  /** `HOST:PORT` (port 0 takes a free one) or `unix:PATH`. */
  address: string
  /** Asked from every caller as `authorization: Bearer`; without it only loopback may call. */
  token: string | undefined
  log: Logger
  /** PEM; without it the connection is plain. */
  tls?: { key: string; cert: string }
}

/** Listens. @throws StartError naming a busy port. */
export async function startRpcServer(options: RpcServerOptions): Promise<RpcServer> {
  const server = new Server({
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
    'grpc.so_reuseport': 0, // a second cluster must not join in silently
  })
  const port = await listen(server, options)
  return {
    port,
    add(service, handlers) {
      const guarded = Object.entries(handlers).map(([name, handler]) => {
        return [name, guard(`${name}`, handler as UntypedHandleCall, options)] as const
      })
      server.addService(service, Object.fromEntries(guarded))
    },
    async [Symbol.asyncDispose]() {
      const shut = new Promise<void>((resolve) => server.tryShutdown(() => resolve()))
      await withDeadline(shut, SHUTDOWN_MS_MAX, 'closing gRPC').catch(() => server.forceShutdown())
    },
  }
}

async function listen(server: Server, options: RpcServerOptions): Promise<number> {
  const { address, tls } = options
  const credentials =
    tls === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(null, [
          { private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) },
        ])
  const bind = () =>
    new Promise<number>((resolve, reject) => {
      server.bindAsync(address, credentials, (error, port) => {
        if (error === null) resolve(port)
        else reject(error)
      })
    })
  if (address.startsWith('unix:')) {
    await removeDeadSocket(address.slice('unix:'.length))
    await bind().catch((error: unknown) => {
      const why = error instanceof Error ? error.message : String(error)
      throw new StartError(`cannot listen on ${address}: ${why}`, { cause: error })
    })
    return 0
  }
  const colon = address.lastIndexOf(':')
  const attempt = { address: address.slice(0, colon), port: Number(address.slice(colon + 1)) }
  return await bind().catch((error: unknown) => {
    throw listenFailed({ ...attempt, field: 'grpc_port' }, error)
  })
}

/** Removes the socket file that a killed process left: nobody answers there. */
async function removeDeadSocket(path: string): Promise<void> {
  try {
    const socket = await Bun.connect({ unix: path, socket: { data() {} } })
    socket.end() // somebody answers: the bind will say that it is taken
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ECONNREFUSED') unlinkSync(path)
  }
}

/** What a handler knows of its call. */
export interface CallInfo {
  /** Aborted when the caller went away or its deadline passed. */
  signal: AbortSignal
  /** Milliseconds that the caller still waits; Infinity when it set no deadline. */
  deadlineMs: number
}

/** A method with one reply. What `handler` throws fails the call (see `statusOf`). */
export function unary<Request, Reply>(
  handler: (request: Request, call: CallInfo) => Promise<Reply>,
): handleUnaryCall<Request, Reply> {
  return (call, callback) => {
    const { signal, deadlineMs } = infoOf(call)
    handler(call.request, { signal, deadlineMs }).then(
      (reply) => callback(null, reply),
      (error: unknown) => callback(statusOf(error)),
    )
  }
}

/**
 * A method with a stream of replies. The iterable is asked for the next one only when the caller
 * has room for it, and is closed when the caller goes away.
 */
export function serverStream<Request, Reply>(
  handler: (request: Request, call: CallInfo) => AsyncIterable<Reply>,
): handleServerStreamingCall<Request, Reply> {
  return (call) => {
    const { signal, deadlineMs } = infoOf(call)
    void pump(call, handler(call.request, { signal, deadlineMs }), signal)
  }
}

async function pump<Request, Reply>(
  call: ServerWritableStream<Request, Reply>,
  replies: AsyncIterable<Reply>,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const reply of replies) {
      if (signal.aborted) return
      if (!call.write(reply)) await room(call, signal)
    }
    call.end()
  } catch (error) {
    // A caller that is gone hears nothing; grpc-js would throw at the second end of the call.
    if (!signal.aborted) call.emit('error', statusOf(error))
  }
}

function room(call: NodeJS.EventEmitter, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const done = (): void => resolve()
  call.once('drain', done)
  signal.addEventListener('abort', done, { once: true })
  return promise
}

interface ServerCall extends NodeJS.EventEmitter {
  cancelled: boolean
  getDeadline(): Date | number
}

function infoOf(call: ServerCall): CallInfo {
  const gone = new AbortController()
  const cancel = (): void => gone.abort(new Error('the caller went away'))
  if (call.cancelled) cancel()
  else call.once('cancelled', cancel)
  return { signal: gone.signal, deadlineMs: Number(call.getDeadline()) - wallTimeMs() }
}
