// pg_hba.conf: people come through the gateway and the pooler, never straight over TCP.

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/

/** The role that followers and base backups connect as, over TCP. */
export const REPLICATION_ROLE = 'multigres_replication'

/** The system's own superuser, over the socket only. */
export const SYSTEM_ROLE = 'multigres'

/**
 * The whole file. The socket's folder is open to Postgres's user alone (0700), so whoever reaches
 * it is the pooler; over TCP only the replication role gets in. `listen`: listen_addresses.
 */
export function hbaText(listen: string): string {
  const addresses = listen.split(',').map((address) => address.trim())
  const from = addresses.every((address) => LOOPBACK.test(address)) ? 'samehost' : 'all'
  return `# Written by pgctld at every start; changes are lost.
# TYPE  DATABASE     USER                   ADDRESS   METHOD
local   all          all                              trust
local   replication  all                              trust
host    replication  ${REPLICATION_ROLE}  ${from.padEnd(8)}  scram-sha-256
host    postgres     ${REPLICATION_ROLE}  ${from.padEnd(8)}  scram-sha-256
`
}
