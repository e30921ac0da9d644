import { PgError } from '../../shared/errors/pg-error.ts'

/** What a pooler last said of itself. */
export type Health = {
  id: string
  role: string
  term: bigint
  subterm: bigint
  serving: boolean
  reason: string
  /** Why nothing may be read there as from a follower; empty while it may. */
  notReadable: string
  lagBytes: number
  /** Of a standby what it has replayed, else what is on its disk; 0n while it is not known. */
  lsn: bigint
  /** How old that was when it was told. */
  lsnAgeMs: number
  /** Number of the look that found it; they grow. */
  lsnLook: number
  pools: unknown
}

/** As it comes. The pooler has proven that it is one of ours: its words are taken as they are. */
type Frame = {
  id: string
  role: string
  term: string
  subterm: string
  serving: boolean
  reason?: string
  not_readable?: string
  lag_bytes?: number
  lsn?: string
  lsn_age_ms?: number
  lsn_look?: number
  pools?: unknown
}

/** Reads the payload of a HEALTH frame. @throws PgError protocol_violation */
export function readHealth(json: string): Health {
  try {
    const raw = JSON.parse(json) as Frame
    const { id, role, reason, pools } = raw
    return {
      id,
      role,
      term: BigInt(raw.term),
      subterm: BigInt(raw.subterm),
      serving: raw.serving === true,
      reason: reason ?? '',
      notReadable: raw.not_readable ?? 'its pooler does not say whether it follows',
      lagBytes: raw.lag_bytes ?? 0,
      lsn: BigInt(raw.lsn ?? 0),
      lsnAgeMs: raw.lsn_age_ms ?? 0,
      lsnLook: raw.lsn_look ?? 0,
      pools,
    }
  } catch (cause) {
    throw new PgError('protocol_violation', 'link: malformed health frame', { cause })
  }
}

/** -1, 0, 1 as the first rule is older, the same, or newer. */
export function compareRules(
  a: { term: bigint; subterm: bigint },
  b: { term: bigint; subterm: bigint },
): number {
  if (a.term !== b.term) return a.term < b.term ? -1 : 1
  if (a.subterm !== b.subterm) return a.subterm < b.subterm ? -1 : 1
  return 0
}

/** The rule as a BATCH carries it: term and subterm, UInt64 each. */
export function ruleBytes(rule: { term: bigint; subterm: bigint }): Buffer {
  const bytes = Buffer.alloc(16)
  bytes.writeBigUInt64BE(rule.term, 0)
  bytes.writeBigUInt64BE(rule.subterm, 8)
  return bytes
}
