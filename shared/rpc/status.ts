import { Metadata, type ServiceError } from '@grpc/grpc-js'
import { Code } from '../errors/grpc-code.ts'
import { PgError } from '../errors/pg-error.ts'

const SQLSTATE = 'sqlstate'

/**
 * A call that failed: the peer's answer, or that there was none (UNAVAILABLE, DEADLINE_EXCEEDED).
 */
export class RpcError extends Error {
  override readonly name = 'RpcError'
  readonly code: Code
  /** Of the PgError that the peer failed with, when it was one. */
  readonly sqlstate: string | undefined

  constructor(code: Code, message: string, options: ErrorOptions & { sqlstate?: string } = {}) {
    super(message, options)
    this.code = code
    this.sqlstate = options.sqlstate
  }
}

/** A status to fail a call with; `cause` is the error behind it and is not sent. */
export interface FailedStatus {
  code: Code
  details: string
  metadata: Metadata
  cause: unknown
}

/**
 * How an error of a handler crosses the wire: PgError and RpcError by their code, else INTERNAL.
 */
export function statusOf(error: unknown): FailedStatus {
  const metadata = new Metadata()
  const details = error instanceof Error ? error.message : String(error)
  const known = error instanceof PgError || error instanceof RpcError
  if (known && error.sqlstate !== undefined) metadata.set(SQLSTATE, error.sqlstate)
  return { code: known ? error.code : Code.INTERNAL, details, metadata, cause: error }
}

/** The peer's failure as an error of ours; the method stands before its message. */
export function rpcErrorOf(method: string, error: ServiceError): RpcError {
  const sqlstate = error.metadata?.get(SQLSTATE)[0]?.toString()
  const text = `${method}: ${error.details || error.message}`
  return new RpcError(error.code as Code, text, {
    cause: error,
    ...(sqlstate === undefined ? {} : { sqlstate }),
  })
}
