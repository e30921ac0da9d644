import { expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { tlsServerEndPoint } from './channel-binding.ts'

/** A DER element. */
const der = (tag: number, ...parts: Uint8Array[]): Buffer => {
  const body = Buffer.concat(parts)
  const length =
    body.length < 128
      ? Buffer.from([body.length])
      : Buffer.from([0x82, body.length >> 8, body.length & 0xff])
  return Buffer.concat([Buffer.from([tag]), length, body])
}
/** The outline of a certificate: something to be signed, an algorithm, a signature. */
const outline = (oid: string, filler = 300) => {
  const algorithm = der(0x30, der(0x06, Buffer.from(oid, 'hex')), der(0x05))
  return der(0x30, der(0x30, Buffer.alloc(filler)), algorithm, der(0x03, Buffer.alloc(70)))
}
const hash = (name: string, bytes: Uint8Array) => createHash(name).update(bytes).digest()

test.each([
  ['md5WithRSAEncryption', '2a864886f70d010104', 'sha256'],
  ['sha1WithRSAEncryption', '2a864886f70d010105', 'sha256'],
  ['sha256WithRSAEncryption', '2a864886f70d01010b', 'sha256'],
  ['sha384WithRSAEncryption', '2a864886f70d01010c', 'sha384'],
  ['sha512WithRSAEncryption', '2a864886f70d01010d', 'sha512'],
  ['ecdsa-with-SHA1', '2a8648ce3d0401', 'sha256'],
  ['ecdsa-with-SHA256', '2a8648ce3d040302', 'sha256'],
  ['ecdsa-with-SHA384', '2a8648ce3d040303', 'sha384'],
  ['ecdsa-with-SHA512', '2a8648ce3d040304', 'sha512'],
])('%s binds by %p', (_, oid, name) => {
  for (const filler of [10, 300]) {
    const certificate = outline(oid, filler)
    expect(tlsServerEndPoint(certificate)).toEqual(hash(name, certificate))
  }
})

test.each([
  ['Ed25519', '2b6570'],
  ['RSA-PSS', '2a864886f70d01010a'],
])('%s does not bind', (_, oid) => {
  expect(tlsServerEndPoint(outline(oid))).toBeUndefined()
})

test('what is no certificate does not bind, wherever it is cut', () => {
  const certificate = outline('2a864886f70d01010b')
  for (let end = 0; end < 330; end += 1) {
    expect(tlsServerEndPoint(certificate.subarray(0, end))).toBeUndefined()
  }
})
