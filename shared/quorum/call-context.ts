import type { Configuration } from './configuration.ts'
import type { PeerNode } from './node.ts'
import type { NodeResponse } from './node-response.ts'

/** Makes the request for one node out of that for all; undefined leaves the node out. */
export type RequestOf<Q> = (request: Q, node: PeerNode) => Q | undefined

/** What an interceptor can see of a call, and what it can do to its requests. */
export type CallContext<Q> = {
  readonly method: string
  readonly configuration: Configuration
  readonly request: Q
  /** Another step between the request and what each node gets; only before anything is sent. */
  mapRequests(step: RequestOf<Q>): void
}

/**
 * Stands between the nodes and who reads their responses. Called once a call, before anything is
 * sent; the first of a list is the nearest to the nodes.
 */
export type Interceptor<Q, R> = (
  context: CallContext<Q>,
  responses: AsyncIterable<NodeResponse<R>>,
) => AsyncIterable<NodeResponse<R>>

/** Another request for each node. */
export function mapRequest<Q, R>(step: RequestOf<Q>): Interceptor<Q, R> {
  return (context, responses) => {
    context.mapRequests(step)
    return responses
  }
}

/** Other values; errors stay. */
export function mapResponse<Q, R>(step: (value: R, nodeId: string) => R): Interceptor<Q, R> {
  return async function* (_context, responses) {
    for await (const response of responses) {
      const { nodeId } = response
      if (response.kind !== 'value') yield response
      else yield { nodeId, kind: 'value', value: step(response.value, nodeId) }
    }
  }
}

/** Lets only those responses through. */
export function filterResponses<Q, R>(
  keep: (response: NodeResponse<R>) => boolean,
): Interceptor<Q, R> {
  return async function* (_context, responses) {
    for await (const response of responses) if (keep(response)) yield response
  }
}
