// Certificates of clients, of authorities of the tests' own.
import 'reflect-metadata' // of which @peculiar/x509 needs the polyfill, but does not bring it
import * as x509 from '@peculiar/x509'
import { randomBytes } from 'node:crypto'

/** PEM. */
export type Pem = { readonly cert: string; readonly key: string }

/** What a certificate is made for. */
export type Subject = { name: string; usage?: 'client' | 'server'; days?: number }

const KEY = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const DAY_MS = 86_400_000

/** An authority that certifies whomever it is told to. */
export class Authority {
  readonly #certificate: x509.X509Certificate
  readonly #keys: CryptoKeyPair

  private constructor(certificate: x509.X509Certificate, keys: CryptoKeyPair) {
    this.#certificate = certificate
    this.#keys = keys
  }

  static async make(): Promise<Authority> {
    const keys = await crypto.subtle.generateKey(KEY, true, ['sign', 'verify'])
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: 'CN=authority of the tests',
      ...common(30),
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    })
    return new Authority(certificate, keys)
  }

  get pem(): string {
    return `${this.#certificate.toString('pem')}\n`
  }

  /** A certificate for `name`, as in `O=Shop, CN=alice`. */
  async certify({ name, usage = 'client', days = 30 }: Subject): Promise<Pem> {
    const keys = await crypto.subtle.generateKey(KEY, true, ['sign', 'verify'])
    const purpose = usage === 'client' ? 'clientAuth' : 'serverAuth'
    const certificate = await x509.X509CertificateGenerator.create({
      subject: name,
      issuer: this.#certificate.subject,
      ...common(days),
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage[purpose]]),
        new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: 'localhost' }]),
        await x509.AuthorityKeyIdentifierExtension.create(this.#keys.publicKey),
      ],
    })
    return { cert: `${certificate.toString('pem')}\n`, key: await privatePem(keys) }
  }
}

function common(days: number) {
  const now = Date.now()
  return {
    serialNumber: randomBytes(16).toString('hex'),
    notBefore: new Date(now - 60 * DAY_MS),
    notAfter: new Date(now + days * DAY_MS),
    signingAlgorithm: KEY,
  }
}

async function privatePem({ privateKey }: CryptoKeyPair): Promise<string> {
  const bytes = await crypto.subtle.exportKey('pkcs8', privateKey)
  return `${x509.PemConverter.encode(bytes, 'PRIVATE KEY')}\n`
}
