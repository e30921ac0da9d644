import { createHash } from 'node:crypto'

const SEQUENCE = 0x30
const OBJECT_IDENTIFIER = 0x06

/**
 * Signature algorithm -> hash of the certificate. md5 and sha1 count as sha256, as RFC 5929 rules.
 * Keys are the DER bytes of the object identifier in hex.
 */
const HASHES: Readonly<Record<string, string>> = {
  '2a864886f70d010104': 'sha256', // md5WithRSAEncryption
  '2a864886f70d010105': 'sha256', // sha1WithRSAEncryption
  '2a864886f70d01010e': 'sha224', // sha224WithRSAEncryption
  '2a864886f70d01010b': 'sha256', // sha256WithRSAEncryption
  '2a864886f70d01010c': 'sha384', // sha384WithRSAEncryption
  '2a864886f70d01010d': 'sha512', // sha512WithRSAEncryption
  '2a8648ce3d0401': 'sha256', // ecdsa-with-SHA1
  '2a8648ce3d040301': 'sha224', // ecdsa-with-SHA224
  '2a8648ce3d040302': 'sha256', // ecdsa-with-SHA256
  '2a8648ce3d040303': 'sha384', // ecdsa-with-SHA384
  '2a8648ce3d040304': 'sha512', // ecdsa-with-SHA512
  '2a8648ce380403': 'sha256', // dsa-with-sha1
  '608648016503040301': 'sha224', // dsa-with-sha224
  '608648016503040302': 'sha256', // dsa-with-sha256
}

/**
 * tls-server-end-point: the hash of a server's certificate, by its own signature algorithm.
 * Undefined when that algorithm names no hash (Ed25519, RSA-PSS): then neither side may bind.
 * @param certificate DER, as `getPeerCertificate().raw` gives it.
 * Source: RFC 5929, section 4.
 */
export function tlsServerEndPoint(certificate: Uint8Array): Buffer | undefined {
  const algorithm = signatureAlgorithmOf(Buffer.from(certificate))
  const hash = algorithm === undefined ? undefined : HASHES[algorithm]
  return hash === undefined ? undefined : createHash(hash).update(certificate).digest()
}

/** Certificate ::= SEQUENCE { tbs SEQUENCE, algorithm SEQUENCE { OBJECT IDENTIFIER, ... }, ... } */
function signatureAlgorithmOf(der: Buffer): string | undefined {
  const certificate = elementAt(der, 0)
  const body = certificate?.tag === SEQUENCE ? elementAt(der, certificate.start) : undefined
  const algorithm = body?.tag === SEQUENCE ? elementAt(der, body.end) : undefined
  const oid = algorithm?.tag === SEQUENCE ? elementAt(der, algorithm.start) : undefined
  if (oid?.tag !== OBJECT_IDENTIFIER) return undefined
  return der.toString('hex', oid.start, oid.end)
}

/** The DER element at `at`: its tag, and where its content lies. Undefined when it is cut. */
function elementAt(
  der: Buffer,
  at: number,
): { tag: number; start: number; end: number } | undefined {
  const tag = der[at]
  const first = der[at + 1]
  if (tag === undefined || first === undefined) return undefined
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f
  const start = at + 2 + lengthBytes
  if (lengthBytes > 4 || start > der.length) return undefined
  const length = lengthBytes === 0 ? first : der.readUIntBE(at + 2, lengthBytes)
  const end = start + length
  return end > der.length ? undefined : { tag, start, end }
}
