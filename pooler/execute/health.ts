import type { Executor } from './executor.ts'

/** Which member this is. */
export type Identity = { readonly id: string; readonly database: string; readonly shard: string }

/** What a HEALTH frame says, as JSON. Its field names are part of the link's protocol. */
export type Health = Identity & {
  role: string
  term: string
  subterm: string
  serving: boolean
  reason: string
  lag_bytes: number
  pools: { database: string; user: string; size: number; idle: number; waiting: number }[]
}

/** Pools in a health frame, which must fit 32 KiB; a gateway needs no more than a picture. */
const POOLS_MAX = 64

/** How this node stands now. */
export function healthOf(executor: Executor): Health {
  const { role, term, subterm, serving, reason, lagBytes } = executor.gate.state
  const { draining } = executor.gate
  const pools: Health['pools'] = []
  for (const { key, size, idle, waiting } of executor.pools.pools.values()) {
    if (pools.length >= POOLS_MAX) break
    const { database, user } = key
    pools.push({ database, user, size, idle: idle.length, waiting })
  }
  return {
    ...executor.identity,
    role,
    term: term.toString(),
    subterm: subterm.toString(),
    serving: serving && !draining,
    reason: draining ? 'draining' : reason,
    lag_bytes: lagBytes,
    pools,
  }
}
