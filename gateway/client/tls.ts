// The gateway's certificate, and what is needed to present it.

import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { StartError } from '../../shared/lifecycle/start-error.ts'
import { tlsServerEndPoint } from '../../shared/scram/channel-binding.ts'

/** The one protocol of direct TLS, as the manual names it. */
export const ALPN_PROTOCOL = 'postgresql'
/** As Bun's TLS sockets take it: the wire format, a length byte before each name. */
const ALPN_WIRE = Buffer.from([ALPN_PROTOCOL.length, ...Buffer.from(ALPN_PROTOCOL)])

export type TlsFiles = {
  certFile: string
  keyFile: string
  clientCaFile: string | undefined
}

/** One loaded certificate; connections keep the one that they were presented. */
export type TlsIdentity = {
  readonly cert: Buffer
  readonly key: Buffer
  readonly ca: Buffer | undefined
  /** What SCRAM-SHA-256-PLUS binds to; undefined where the certificate's hash is undefined. */
  readonly endPoint: Buffer | undefined
}

/** Reads and checks the files. @throws StartError naming the one that is at fault. */
export function loadTls(files: TlsFiles): TlsIdentity {
  const cert = readPem(files.certFile)
  const key = readPem(files.keyFile)
  const ca = files.clientCaFile === undefined ? undefined : readPem(files.clientCaFile)
  try {
    const certificate = new X509Certificate(cert)
    return { cert, key, ca, endPoint: tlsServerEndPoint(certificate.raw) }
  } catch (cause) {
    throw new StartError(`${files.certFile} is no certificate: ${String(cause)}`, { cause })
  }
}

/** Changes whenever one of the files does; empty while one cannot be looked at. */
export function tlsVersion({ certFile, keyFile, clientCaFile }: TlsFiles): string {
  try {
    const files = [certFile, keyFile, ...(clientCaFile === undefined ? [] : [clientCaFile])]
    return files.map((file) => statSync(file, { bigint: true }).mtimeNs).join()
  } catch {
    return '' // in the middle of being replaced
  }
}

/** Options of Bun's `upgradeTLS`. */
export function bunTlsOptions(identity: TlsIdentity): Bun.TLSOptions {
  const { cert, key, ca } = identity
  // Whether there must be one is for the rules to say, when it is known who the client is.
  const clients = ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: false }
  return { cert, key, ALPNProtocols: ALPN_WIRE, ...clients } as Bun.TLSOptions
}

function readPem(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (cause) {
    throw new StartError(`cannot read ${file}: ${(cause as Error).message}`, { cause })
  }
}
