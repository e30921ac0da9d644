import { afterAll, expect, test } from 'bun:test'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeCertificates } from './certificates.ts'

const dir = mkdtempSync(join(tmpdir(), 'mg-certs-'))
afterAll(() => rmSync(dir, { recursive: true }))

const certificate = (file: string): X509Certificate => new X509Certificate(readFileSync(file))

test('the certificate is of the CA and names this machine', async () => {
  const files = await makeCertificates(dir, '127.0.0.1')
  const [server, ca] = [certificate(files.cert), certificate(files.ca)]
  expect(server.verify(ca.publicKey)).toBe(true)
  expect(server.checkHost('localhost')).toBe('localhost')
  expect(server.checkIP('127.0.0.1')).toBe('127.0.0.1')
  expect(server.checkIP('::1')).toBeDefined()
  expect(statSync(files.key).mode & 0o777).toBe(0o600)
})

test('a second call changes nothing, another address the certificate but not the CA', async () => {
  const files = await makeCertificates(dir, '127.0.0.1')
  const before = [files.cert, files.ca].map((file) => readFileSync(file, 'utf8'))
  await makeCertificates(dir, '0.0.0.0')
  expect([files.cert, files.ca].map((file) => readFileSync(file, 'utf8'))).toEqual(before)
  await makeCertificates(dir, '10.1.2.3')
  expect(readFileSync(files.ca, 'utf8')).toBe(before[1] ?? '')
  expect(certificate(files.cert).checkIP('10.1.2.3')).toBe('10.1.2.3')
  expect(certificate(files.cert).verify(certificate(files.ca).publicKey)).toBe(true)
})
