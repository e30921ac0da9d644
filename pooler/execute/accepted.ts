import type { Backend } from '../backend/backend.ts'
import type { ParameterVector } from '../backend/parameters.ts'
import type { Pool } from '../pool/pool.ts'

/**
 * The values that a session of `pool` begins with, by a backend that Postgres has accepted with its
 * key; undefined when there is none. One that is retired began with other defaults than a new one.
 */
export function acceptedOf(pool: Pool<Backend>): ParameterVector | undefined {
  for (const { retired, open, initialParameters } of pool.members) {
    if (!retired && open && initialParameters !== undefined) return initialParameters
  }
  return undefined
}
