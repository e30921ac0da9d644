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
  /** Why nothing may be read here as from a follower; empty while it may. */
  not_readable: string
  lag_bytes: number
  /** What a standby has replayed, what is on the disk of a primary: a decimal number. */
  lsn: string
  /** How long ago that was so. */
  lsn_age_ms: number
  /** Number of the look that found it: one begins when the one before has ended. */
  lsn_look: number
  pools: { database: string; user: string; size: number; idle: number; waiting: number }[]
}

/** What a health frame holds at most: it must fit 32 KiB, and gateways need only a picture. */
const POOLS_MAX = 64
const NAME_CHARS_MAX = 63
const REASON_CHARS_MAX = 300

/** How this node stands now. */
export function healthOf(executor: Executor): Health {
  const { role, term, subterm, serving, reason, notReadable, lagBytes } = executor.gate.state
  const { lsn, ageMs, number } = executor.walPosition
  const { draining } = executor.gate
  const pools: Health['pools'] = []
  for (const { key, size, idle, waiting } of executor.pools.pools.values()) {
    if (pools.length >= POOLS_MAX) break
    const [database, user] = [short(key.database), short(key.user)]
    pools.push({ database, user, size, idle: idle.length, waiting })
  }
  return {
    ...executor.identity,
    role,
    term: term.toString(),
    subterm: subterm.toString(),
    serving: serving && !draining,
    reason: draining ? 'draining' : reason.slice(0, REASON_CHARS_MAX),
    not_readable: draining ? 'draining' : notReadable.slice(0, REASON_CHARS_MAX),
    lag_bytes: lagBytes,
    lsn: lsn.toString(),
    lsn_age_ms: Math.round(ageMs),
    lsn_look: number,
    pools,
  }
}

/** A name as people know it; control characters would grow in JSON. */
function short(name: string): string {
  return name.slice(0, NAME_CHARS_MAX).replace(/\p{Cc}/gu, '?')
}
