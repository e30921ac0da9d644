import { Code } from '../errors/grpc-code.ts'
import { RpcError } from '../rpc/status.ts'

/** What went wrong with a call on several nodes. */
export type QuorumErrorCode =
  /** Too few nodes answered well for what was asked. */
  | 'INCOMPLETE'
  /** The message could not be handed over to each node. */
  | 'SEND_FAILURE'
  /** The caller gave up; `cause` is its signal's reason. */
  | 'ABORTED'

/** How far a call came. */
export type QuorumOutcome = {
  readonly nodeErrors: ReadonlyMap<string, Error>
  /** Nodes that answered well, and that would have been needed. */
  readonly received: number
  readonly required: number
}

/** A call on a configuration failed; says which nodes stood in its way, and why. */
export class QuorumCallError extends AggregateError {
  override readonly name = 'QuorumCallError'
  readonly code: QuorumErrorCode
  readonly nodeErrors: ReadonlyMap<string, Error>
  readonly received: number
  readonly required: number

  constructor(code: QuorumErrorCode, what: string, outcome: QuorumOutcome, options?: ErrorOptions) {
    const { nodeErrors, received, required } = outcome
    const failures = [...nodeErrors].map(([id, { message }]) => `${id}: ${message}`)
    const tail = failures.length === 0 ? '' : ` (${failures.join('; ')})`
    super([...nodeErrors.values()], `${what}: ${SAID[code]}, ${received} of ${required}${tail}`, {
      ...options,
    })
    this.code = code
    this.nodeErrors = nodeErrors
    this.received = received
    this.required = required
  }
}

const SAID: Record<QuorumErrorCode, string> = {
  INCOMPLETE: 'too few answers',
  SEND_FAILURE: 'not sent to each node',
  ABORTED: 'aborted',
}

/** The replies of one call can be read once. */
export class ResponsesConsumedError extends Error {
  override readonly name = 'ResponsesConsumedError'
}

/** The node goes by a newer configuration than the caller. */
export class StaleEpochError extends RpcError {
  /** The node's. */
  readonly epoch: bigint

  constructor(epoch: bigint, message: string) {
    super(Code.FAILED_PRECONDITION, message)
    this.epoch = epoch
  }
}
