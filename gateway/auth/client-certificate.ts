/** What TLS sockets of Bun and of node say of their peer. */
export interface CertifiedSocket {
  readonly authorized: boolean
  getPeerCertificate(): unknown
}

/** A certificate that a client has shown and that comes from the configured authorities. */
export type ClientCertificate = {
  /** Common name of its subject; '' when it has none that can be used. */
  readonly commonName: string
}

/**
 * The certificate of a client; undefined without one, `refused` when it has one that no authority
 * of ours has signed: that ends the connection, as it does at Postgres.
 */
export function certificateOf(socket: CertifiedSocket): ClientCertificate | 'refused' | undefined {
  const shown = socket.getPeerCertificate()
  if (typeof shown !== 'object' || shown === null || Object.keys(shown).length === 0) {
    return undefined
  }
  if (!socket.authorized) return 'refused'
  const { subject } = shown as { subject?: { CN?: unknown } }
  const name = subject?.CN
  // A NUL in a name has fooled many: what is before it is not who was certified.
  return { commonName: typeof name === 'string' && !name.includes('\0') ? name : '' }
}
