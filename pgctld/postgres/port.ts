import { PgError } from '../../shared/errors/pg-error.ts'

const ANY = '0.0.0.0'

/**
 * Proves that `port` is free on every address of `listen` (listen_addresses). Postgres would find
 * out itself, but says so in three lines of its log.
 * @throws PgError object_not_in_prerequisite_state naming the address and port.
 */
export function requireFreePort(listen: string, port: number): void {
  for (const address of listen.split(',').map((part) => part.trim())) {
    if (address === '') continue
    const hostname = address === '*' ? ANY : address
    try {
      Bun.listen({ hostname, port, socket: { data: () => {} } }).stop(true)
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EADDRINUSE') continue // Postgres will say
      const why = `port ${port} on ${address} is busy: choose another by --postgres-port`
      throw new PgError('object_not_in_prerequisite_state', why, { cause })
    }
  }
}
