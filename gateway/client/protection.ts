/** What Bun's and node's TLS sockets say of their connection, each under its own names. */
type SecureSocket = {
  getTLSVersion?(): string | null
  getProtocol?(): string | null
  getCipher?(): { name?: string } | null | undefined
}

/** Version and cipher of a TLS connection, as `TLSv1.3/TLS_AES_256_GCM_SHA384`. */
export function protectionOf(socket: object): string {
  const secure: SecureSocket = socket
  const version = secure.getTLSVersion?.() ?? secure.getProtocol?.() ?? 'TLS'
  const cipher = secure.getCipher?.()?.name
  return cipher === undefined ? version : `${version}/${cipher}`
}
