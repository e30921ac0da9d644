import { timingSafeEqual } from 'node:crypto'

/** What decides about a request that changes something. */
export interface Credentials {
  /** The token that is asked for; undefined: only loopback peers may. */
  token: string | undefined
  /** The `authorization` header or metadata. */
  authorization: string | undefined
  /** The peer's address; undefined for a unix socket, whose folder guards it. */
  peer: string | undefined
}

/** allowed, or why not: `unauthenticated` (no or a wrong token) or `forbidden` (from elsewhere). */
export type Verdict = 'allowed' | 'unauthenticated' | 'forbidden'

/** Control is for who has the token, or, where there is none, for who is on this machine. */
export function authorize({ token, authorization, peer }: Credentials): Verdict {
  if (token === undefined) return isLoopback(peer) ? 'allowed' : 'forbidden'
  const given = /^Bearer (.+)$/i.exec(authorization ?? '')?.[1]
  return given !== undefined && sameSecret(given, token) ? 'allowed' : 'unauthenticated'
}

/** True for 127.0.0.0/8, ::1 (also as mapped IPv4) and unix sockets. */
export function isLoopback(address: string | undefined): boolean {
  if (address === undefined) return true
  return /^(?:::ffff:)?127\.\d+\.\d+\.\d+$/.test(address) || address === '::1'
}

/** Compares in a time that does not depend on where the two differ; only lengths may be learnt. */
export function sameSecret(left: string, right: string): boolean {
  const a = Buffer.from(left)
  const b = Buffer.from(right)
  return a.length === b.length && timingSafeEqual(a, b)
}
