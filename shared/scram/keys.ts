import { pbkdf2Sync, timingSafeEqual } from 'node:crypto'
import { saslprep } from './saslprep.ts'

/** Bytes of every key, signature and proof of SCRAM-SHA-256. */
export const KEY_BYTES = 32
/** Of SHA-256. */
const BLOCK_BYTES = 64

/** The mechanism without channel binding. */
export const SCRAM_SHA_256 = 'SCRAM-SHA-256'
/** The mechanism with channel binding. */
export const SCRAM_SHA_256_PLUS = 'SCRAM-SHA-256-PLUS'
/** The one channel binding type that Postgres speaks. Source: RFC 5929. */
export const CHANNEL_BINDING_TYPE = 'tls-server-end-point'

/**
 * Hi(): the password stretched. Takes about 1 ms per 4096 iterations, in which nothing else runs.
 * Source: RFC 5802, section 2.2.
 */
export function saltedPassword(password: string, salt: Uint8Array, iterations: number): Buffer {
  return pbkdf2Sync(saslprep(password), salt, iterations, KEY_BYTES, 'sha256')
}

/** ClientKey: as good as the password for logging in where the verifier was made with its salt. */
export function clientKeyOf(salted: Uint8Array): Buffer {
  return hmac(salted, 'Client Key')
}

/** ServerKey: proves to a client that the server knows its verifier. */
export function serverKeyOf(salted: Uint8Array): Buffer {
  return hmac(salted, 'Server Key')
}

/** StoredKey: what a server keeps to recognise a ClientKey. */
export function storedKeyOf(clientKey: Uint8Array): Buffer {
  return sha256(clientKey)
}

/** ClientSignature or ServerSignature, by the key given. */
export function signature(key: Uint8Array, authMessage: string): Buffer {
  return hmac(key, authMessage)
}

/** ClientProof from ClientKey and ClientSignature, and back. Both have KEY_BYTES. */
export function xor(left: Uint8Array, right: Uint8Array): Buffer {
  const result = Buffer.from(left)
  for (let at = 0; at < result.length; at += 1) result[at] = result[at]! ^ right[at]!
  return result
}

/** Compares in a time that tells nothing of where two secrets differ. */
export function sameSecret(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && timingSafeEqual(left, right)
}

/** Bytes that nobody can guess. */
export function secretBytes(count: number): Buffer {
  return crypto.getRandomValues(Buffer.allocUnsafeSlow(count))
}

/**
 * HMAC-SHA-256 by RFC 2104, of a key that is no longer than a block: all keys of SCRAM are.
 * node:crypto's makes a stream of several objects for each, which is most of what a login computes.
 */
function hmac(key: Uint8Array, data: string): Buffer {
  const inner = Buffer.allocUnsafe(BLOCK_BYTES + Buffer.byteLength(data))
  pad(inner, key, 0x36)
  inner.write(data, BLOCK_BYTES)
  const outer = Buffer.allocUnsafe(BLOCK_BYTES + KEY_BYTES)
  pad(outer, key, 0x5c)
  outer.set(sha256(inner), BLOCK_BYTES)
  return sha256(outer)
}

function pad(block: Buffer, key: Uint8Array, byte: number): void {
  for (let at = 0; at < BLOCK_BYTES; at += 1) block[at] = byte ^ (key[at] ?? 0)
}

function sha256(bytes: Uint8Array): Buffer {
  const digest = Buffer.allocUnsafeSlow(KEY_BYTES)
  Bun.SHA256.hash(bytes, digest)
  return digest
}
