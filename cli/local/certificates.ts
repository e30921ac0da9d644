// The certificate authority and server certificate of --tls auto. Clients verify with the CA's
// certificate (`sslrootcert`), which stays for the folder's life; the server's is made anew when it
// nears its end or a name is missing.
import 'reflect-metadata' // of which @peculiar/x509 needs the polyfill, but does not bring it
import * as x509 from '@peculiar/x509'
import { X509Certificate, randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { wallTimeMs } from '../../shared/time/clock.ts'
import { writeFileWhole } from './files.ts'
import type { TlsFiles } from './secrets.ts'

const DAY_MS = 86_400_000
const CA_DAYS = 3_650
/** Apple and some browsers refuse server certificates that live longer than this. */
const SERVER_DAYS = 825
const RENEW_DAYS = 30
/** A client's clock may be behind ours. */
const BACKDATED_DAYS = 1
const KEY = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const LOCAL_NAMES = ['localhost', '127.0.0.1', '::1'] as const

interface Identity {
  readonly certificate: x509.X509Certificate
  readonly keys: CryptoKeyPair
}

/** Makes what is missing in `dir`; `listen` is a name of the certificate beside the local ones. */
export async function makeCertificates(dir: string, listen: string): Promise<Required<TlsFiles>> {
  const file = (name: string): string => join(dir, name)
  const files = { cert: file('server.crt'), key: file('server.key'), ca: file('ca.crt') }
  const names = [...new Set([...LOCAL_NAMES, ...(isWildcard(listen) ? [] : [listen])])]
  if (isGood(files, names)) return files
  const caKey = file('ca.key')
  const ca = existsSync(files.ca) && existsSync(caKey) ? await load(files.ca, caKey) : await newCa()
  const server = await newServer(ca, names)
  writeFileWhole(caKey, await privatePem(ca.keys))
  writeFileWhole(files.ca, `${ca.certificate.toString('pem')}\n`)
  writeFileWhole(files.key, await privatePem(server.keys))
  writeFileWhole(files.cert, `${server.certificate.toString('pem')}\n`)
  return files
}

const isWildcard = (address: string): boolean => address === '0.0.0.0' || address === '::'

function isGood(files: Required<TlsFiles>, names: readonly string[]): boolean {
  if (![files.cert, files.key, files.ca].every((path) => existsSync(path))) return false
  const certificate = new X509Certificate(readFileSync(files.cert))
  if (Date.parse(certificate.validTo) - wallTimeMs() < RENEW_DAYS * DAY_MS) return false
  return names.every((name) =>
    isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name),
  )
}

async function newCa(): Promise<Identity> {
  const keys = await crypto.subtle.generateKey(KEY, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=multigres local CA',
    serialNumber: randomBytes(16).toString('hex'),
    ...validity(CA_DAYS),
    keys,
    signingAlgorithm: KEY,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certificate, keys }
}

async function newServer(ca: Identity, names: readonly string[]): Promise<Identity> {
  const keys = await crypto.subtle.generateKey(KEY, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.create({
    subject: 'CN=localhost',
    issuer: ca.certificate.subject,
    serialNumber: randomBytes(16).toString('hex'),
    ...validity(SERVER_DAYS),
    publicKey: keys.publicKey,
    signingKey: ca.keys.privateKey,
    signingAlgorithm: KEY,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
      ),
      await x509.AuthorityKeyIdentifierExtension.create(ca.keys.publicKey),
    ],
  })
  return { certificate, keys }
}

function validity(days: number): { notBefore: Date; notAfter: Date } {
  const now = wallTimeMs()
  return {
    notBefore: new Date(now - BACKDATED_DAYS * DAY_MS),
    notAfter: new Date(now + days * DAY_MS),
  }
}

async function load(certificateFile: string, keyFile: string): Promise<Identity> {
  const certificate = new x509.X509Certificate(readFileSync(certificateFile, 'utf8'))
  const bytes = x509.PemConverter.decodeFirst(readFileSync(keyFile, 'utf8'))
  const privateKey = await crypto.subtle.importKey('pkcs8', bytes, KEY, true, ['sign'])
  const publicKey = await certificate.publicKey.export(KEY, ['verify'])
  return { certificate, keys: { privateKey, publicKey } }
}

async function privatePem({ privateKey }: CryptoKeyPair): Promise<string> {
  const bytes = await crypto.subtle.exportKey('pkcs8', privateKey)
  return `${x509.PemConverter.encode(bytes, 'PRIVATE KEY')}\n`
}
