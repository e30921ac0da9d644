// The password file behind primary_conninfo: libpq in the walreceiver reads it, as Postgres's user.
import { REPLICATION_ROLE } from './hba.ts'

/** Its path: beside the data directory, so that no base backup carries it. */
export function passfilePath(dataDir: string): string {
  return `${dataDir}.pgpass`
}

/** Its text: one line for the replication role at any host. */
export function passfileText(password: string): string {
  const escaped = password.replaceAll('\\', '\\\\').replaceAll(':', '\\:')
  return `*:*:*:${REPLICATION_ROLE}:${escaped}\n`
}
