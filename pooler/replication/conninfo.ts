// primary_conninfo: whom a standby streams from, and under which name it acknowledges.
import { REPLICATION_ROLE } from '../term/schema.ts'

// Without them a walreceiver waits minutes for a host that is gone.
const CONNECT_TIMEOUT_S = 2
const TCP_USER_TIMEOUT_MS = 5000
const KEEPALIVES_IDLE_S = 2

/** A Postgres to stream from. */
export type PrimaryAddress = { readonly host: string; readonly port: number }

/** The whole conninfo of a follower. `passfile` must be readable by Postgres's user. */
export function formatConninfo(
  to: PrimaryAddress & { readonly applicationName: string; readonly passfile: string },
): string {
  const parts: [string, string | number][] = [
    ['host', to.host],
    ['port', to.port],
    ['user', REPLICATION_ROLE],
    ['passfile', to.passfile],
    ['application_name', to.applicationName],
    ['connect_timeout', CONNECT_TIMEOUT_S],
    ['keepalives_idle', KEEPALIVES_IDLE_S],
    ['tcp_user_timeout', TCP_USER_TIMEOUT_MS],
    ['sslmode', 'prefer'],
  ]
  return parts.map(([name, value]) => `${name}=${quoted(String(value))}`).join(' ')
}

/**
 * Host and port of a conninfo that `formatConninfo` made; undefined for any other, and for none.
 */
export function parseConninfo(text: string): PrimaryAddress | undefined {
  const host = field(text, 'host')
  const port = Number(field(text, 'port'))
  if (host === undefined || !Number.isInteger(port) || port <= 0) return undefined
  return { host, port }
}

/** The application_name of a conninfo that `formatConninfo` made; empty for none. */
export function nameIn(text: string): string {
  return field(text, 'application_name') ?? ''
}

function field(text: string, name: string): string | undefined {
  const match = new RegExp(String.raw`(?:^|\s)${name}='((?:[^'\\]|\\.)*)'`).exec(text)
  return match?.[1]?.replaceAll(/\\(.)/g, '$1')
}

// libpq: single quotes around, backslash before quote and backslash.
function quoted(value: string): string {
  return `'${value.replaceAll(/['\\]/g, String.raw`\$&`)}'`
}
