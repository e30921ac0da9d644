import type {
  sendUnaryData,
  ServerUnaryCall,
  ServerWritableStream,
  UntypedHandleCall,
} from '@grpc/grpc-js'
import { Code } from '../errors/grpc-code.ts'
import { authorize } from '../http/authorize.ts'
import type { Logger } from '../log/logger.ts'
import { RpcError, statusOf, type FailedStatus } from './status.ts'

type AnyCall = ServerUnaryCall<unknown, unknown> | ServerWritableStream<unknown, unknown>
type AnyHandler = (call: AnyCall, callback: sendUnaryData<unknown>) => void

/** Lets only those call who may, and logs the failures that are bugs of ours. */
export function guard(
  method: string,
  handler: UntypedHandleCall,
  options: { token: string | undefined; log: Logger },
): UntypedHandleCall {
  const { token, log } = options
  const report = (error: unknown): void => {
    const { code, cause } = error as FailedStatus
    if (code === Code.INTERNAL) log.error('rpc failed', { method, error: cause })
    else log.debug('rpc refused', { method, code, reason: String(cause) })
  }
  const guarded: AnyHandler = (call, callback) => {
    const authorization = call.metadata.get('authorization')[0]?.toString()
    const verdict = authorize({ token, authorization, peer: addressOf(call.getPeer()) })
    if ('write' in call) call.on('error', report)
    const reply: sendUnaryData<unknown> = (error, value, trailer, flags) => {
      if (error !== null) report(error)
      callback(error, value, trailer, flags)
    }
    if (verdict === 'allowed') (handler as AnyHandler)(call, reply)
    else {
      const status = statusOf(refusal(verdict))
      if ('write' in call) call.emit('error', status)
      else reply(status)
    }
  }
  return guarded as UntypedHandleCall
}

function refusal(verdict: 'unauthenticated' | 'forbidden'): RpcError {
  if (verdict === 'forbidden') {
    return new RpcError(Code.PERMISSION_DENIED, 'only from this machine, as there is no token')
  }
  return new RpcError(Code.UNAUTHENTICATED, 'needs the token of the secrets folder')
}

/** The address of grpc-js's `HOST:PORT`; undefined for a unix socket, which it calls `unknown`. */
function addressOf(peer: string): string | undefined {
  const colon = peer.lastIndexOf(':')
  return colon < 0 ? undefined : peer.slice(0, colon).replace(/^\[|\]$/g, '')
}
