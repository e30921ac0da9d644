import { Metadata, type handleBidiStreamingCall } from '@grpc/grpc-js'
import { QuorumService, type Envelope } from '../../proto/gen/quorum.ts'
import { Code } from '../errors/grpc-code.ts'
import type { RpcServer } from '../rpc/server.ts'
import { RpcError, statusOf } from '../rpc/status.ts'
import { CALLER_KEY, QUORUM_VERSION, VERSION_KEY } from './grpc-transport.ts'
import type { Handlers } from './handlers.ts'
import { Serving } from './serving.ts'

/** What is served, and who wants to know of callers. */
export type QuorumServiceOptions = {
  readonly handlers: Handlers
  readonly epoch?: () => bigint | undefined
  /** A caller's stream has begun, also when it came back. */
  readonly onConnect?: (caller: string) => void
}

/** Serves quorum calls at `server`. */
export function serveQuorum(server: RpcServer, options: QuorumServiceOptions): void {
  const exchange: handleBidiStreamingCall<Envelope, Envelope> = (call) => {
    const version = call.metadata.get(VERSION_KEY)[0]?.toString()
    if (version !== QUORUM_VERSION) {
      const text = `quorum calls: this node speaks version ${QUORUM_VERSION}, not ${version}`
      return void call.emit('error', statusOf(new RpcError(Code.FAILED_PRECONDITION, text)))
    }
    const caller = call.metadata.get(CALLER_KEY)[0]?.toString() ?? ''
    const { handlers, epoch, onConnect } = options
    const serving = new Serving({
      handlers,
      caller,
      ...(epoch === undefined ? {} : { epoch }),
      cut: (reason) => void call.emit('error', statusOf(reason)),
      send: (envelope) => {
        if (call.write(envelope)) return Promise.resolve()
        const { promise, resolve } = Promise.withResolvers<void>()
        const done = (): void => {
          call.off('drain', done).off('cancelled', done)
          resolve()
        }
        call.once('drain', done).once('cancelled', done)
        return promise
      },
    })
    call.on('data', (envelope: Envelope) => serving.received(envelope))
    call.on('cancelled', () => serving.end(new Error('the caller went away')))
    call.on('end', () => {
      serving.end(new Error('the caller went away'))
      call.end()
    })
    call.sendMetadata(new Metadata())
    onConnect?.(caller)
  }
  server.add(QuorumService, { exchange })
}
