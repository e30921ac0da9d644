// How the two ends of a link prove the shared secret to each other, without showing it.
//
//   gateway  startup packet: Int32 length, Int32 LINK_REQUEST_CODE, Int32 version,
//            String gateway id, Byte32 nonce
//   pooler   HELLO    Byte32 nonce, Byte32 proof, String pooler id
//   gateway  PROOF    Byte32 proof
//   pooler   WELCOME, or FAILED with an ErrorResponse
//
// A proof is HMAC-SHA-256 over the prover's role, both nonces and the gateway's id, so that neither
// side's proof can be played back as the other's.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { PgError } from '../errors/pg-error.ts'
import { LINK_PROTOCOL_VERSION, LINK_REQUEST_CODE } from './frame.ts'

export const NONCE_BYTES = 32
export const PROOF_BYTES = 32
/** An id is at most 63 bytes (NAMEDATALEN - 1). */
const ID_BYTES_MAX = 63

/** What both sides know when proofs are made. */
export type Exchange = {
  secret: Uint8Array
  gatewayId: string
  gatewayNonce: Buffer
  poolerNonce: Buffer
}

/** A fresh nonce from the system's random source. */
export function newNonce(): Buffer {
  return randomBytes(NONCE_BYTES)
}

/** The proof of `role` for this exchange, 32 bytes. */
export function proofOf(role: 'gateway' | 'pooler', exchange: Exchange): Buffer {
  return createHmac('sha256', exchange.secret)
    .update(`multigres link ${role}\0`)
    .update(exchange.gatewayNonce)
    .update(exchange.poolerNonce)
    .update(exchange.gatewayId)
    .digest()
}

/** Compares a proof in constant time. */
export function proofHolds(
  role: 'gateway' | 'pooler',
  exchange: Exchange,
  proof: Uint8Array,
): boolean {
  return proof.length === PROOF_BYTES && timingSafeEqual(proofOf(role, exchange), proof)
}

/** The gateway's startup packet. */
export function linkStartupPacket(gatewayId: string, nonce: Buffer): Buffer {
  const id = Buffer.from(`${gatewayId}\0`)
  const packet = Buffer.allocUnsafe(12 + id.length + NONCE_BYTES)
  packet.writeInt32BE(packet.length, 0)
  packet.writeInt32BE(LINK_REQUEST_CODE, 4)
  packet.writeInt32BE(LINK_PROTOCOL_VERSION, 8)
  id.copy(packet, 12)
  nonce.copy(packet, 12 + id.length)
  return packet
}

/**
 * Reads the startup packet's payload behind the request code.
 * @throws PgError protocol_violation when malformed, feature_not_supported for another version.
 */
export function readLinkStartup(payload: Uint8Array): { gatewayId: string; nonce: Buffer } {
  const bytes = Buffer.from(payload)
  const version = bytes.length >= 4 ? bytes.readInt32BE(0) : 0
  if (version !== LINK_PROTOCOL_VERSION) {
    throw new PgError(
      'feature_not_supported',
      `link protocol version ${version} is not spoken here, only ${LINK_PROTOCOL_VERSION}`,
      { severity: 'FATAL' },
    )
  }
  const nul = bytes.indexOf(0, 4)
  if (nul < 0 || nul - 4 > ID_BYTES_MAX || bytes.length - nul - 1 !== NONCE_BYTES) {
    throw new PgError('protocol_violation', 'malformed startup packet of a link', {
      severity: 'FATAL',
    })
  }
  return { gatewayId: bytes.toString('utf8', 4, nul), nonce: bytes.subarray(nul + 1) }
}
