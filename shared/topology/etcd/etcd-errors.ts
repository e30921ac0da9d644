import type * as Etcd from 'etcd3'
import { TopologyError } from '../topology.ts'

/** The etcd3 library, which is loaded on first use: it takes 0.2 s and 20 MB. */
export type EtcdLibrary = typeof Etcd

/**
 * What an error of etcd3 means to us. What is not known to be the request's own fault counts as
 * `unavailable`: a stream that ended, an open circuit breaker, no leader, no answer, no connection.
 */
export function toTopologyError(library: EtcdLibrary, error: unknown): TopologyError {
  if (error instanceof TopologyError) return error
  const { EtcdLeaseInvalidError, GRPCOutOfRangeError, GRPCInvalidArgumentError } = library
  const cause = { cause: error }
  const text = error instanceof Error ? error.message : String(error)
  if (error instanceof EtcdLeaseInvalidError) return new TopologyError('lease_lost', text, cause)
  // Both "has been compacted" and "is a future revision", which a restored etcd answers.
  if (error instanceof GRPCOutOfRangeError) return new TopologyError('compacted', text, cause)
  if (error instanceof GRPCInvalidArgumentError) return new TopologyError('invalid', text, cause)
  return new TopologyError('unavailable', `etcd: ${text}`, cause)
}
