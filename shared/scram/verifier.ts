import { randomBytes } from 'node:crypto'
import { decodeBase64 } from './attributes.ts'
import { clientKeyOf, KEY_BYTES, saltedPassword, serverKeyOf, storedKeyOf } from './keys.ts'

/** Postgres's own, when `scram_iterations` is not set. */
export const ITERATIONS_DEFAULT = 4096
/** Postgres's own. */
export const SALT_BYTES = 16

/** What a server keeps of a password: enough to check one, not to log in. */
export type ScramVerifier = {
  iterations: number
  salt: Buffer
  storedKey: Buffer
  serverKey: Buffer
}

/**
 * Reads `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, the form of
 * pg_authid.rolpassword. Undefined for anything else, an md5 password or plain text.
 */
export function parseVerifier(text: string): ScramVerifier | undefined {
  const match = /^SCRAM-SHA-256\$([1-9]\d{0,9}):([^$:]+)\$([^$:]+):([^$:]+)$/.exec(text)
  if (match === null) return undefined
  const [salt, storedKey, serverKey] = match.slice(2).map((part) => decodeBase64(part))
  if (salt === undefined || storedKey === undefined || serverKey === undefined) return undefined
  if (storedKey.length !== KEY_BYTES || serverKey.length !== KEY_BYTES) return undefined
  return { iterations: Number(match[1]), salt, storedKey, serverKey }
}

/** The verifier in the form of pg_authid.rolpassword. */
export function formatVerifier(verifier: ScramVerifier): string {
  const { iterations, salt, storedKey, serverKey } = verifier
  const keys = `${storedKey.toString('base64')}:${serverKey.toString('base64')}`
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${keys}`
}

/** Makes the verifier of a password; takes about 1 ms per 4096 iterations. */
export function makeVerifier(
  password: string,
  options: { salt?: Uint8Array; iterations?: number } = {},
): ScramVerifier {
  const salt = Buffer.from(options.salt ?? randomBytes(SALT_BYTES))
  const iterations = options.iterations ?? ITERATIONS_DEFAULT
  const salted = saltedPassword(password, salt, iterations)
  const storedKey = storedKeyOf(clientKeyOf(salted))
  return { iterations, salt, storedKey, serverKey: serverKeyOf(salted) }
}

/** True for pg_authid's md5 form, which no SCRAM exchange can use. */
export function isMd5Verifier(text: string): boolean {
  return /^md5[0-9a-f]{32}$/.test(text)
}
