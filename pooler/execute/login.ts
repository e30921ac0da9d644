import { PgError } from '../../shared/errors/pg-error.ts'
import type { AdminConnection } from '../backend/admin-connection.ts'
import { parseObject } from './open-frame.ts'

/** Whom a gateway wants to let in, and where to. */
export type LoginRequest = { user: string; database: string }

/** What Postgres knows about a login, read anew each time; or why it could not be read. */
export type LoginAnswer =
  | {
      /** The role exists; without it the fields about it say no. */
      found: boolean
      /** As in pg_authid.rolpassword; null when it has none. */
      verifier: string | null
      canLogin: boolean
      /** Milliseconds since 1970; null when its password never expires. */
      validUntilMs: number | null
      /** It may CONNECT to the database. */
      connect: boolean
      /** -1: none. */
      connectionLimit: number
      superuser: boolean
      replication: boolean
      databaseFound: boolean
      databaseAllowsConnections: boolean
    }
  | { error: string; sqlstate: string }

/** One row always; role and database may each be missing. Names are qualified on purpose. */
export const LOGIN_SQL = `
select r.oid is not null, r.rolpassword, r.rolcanlogin,
  case when r.rolvaliduntil = 'infinity' then null
       when r.rolvaliduntil = '-infinity' then 0
       else pg_catalog.floor(extract(epoch from r.rolvaliduntil) * 1000) end,
  pg_catalog.has_database_privilege(r.oid, d.oid, 'CONNECT'),
  r.rolconnlimit, r.rolsuper, r.rolreplication, d.oid is not null, d.datallowconn
from (select 1) one
left join pg_catalog.pg_authid r on r.rolname = $1
left join pg_catalog.pg_database d on d.datname = $2`

/** Reads a LOGIN frame's JSON. @throws PgError protocol_violation. */
export function readLogin(text: string): LoginRequest {
  const { user, database } = parseObject(text)
  if (typeof user !== 'string' || typeof database !== 'string') {
    throw new PgError('protocol_violation', 'link: malformed login request')
  }
  return { user, database }
}

/** Asks Postgres. Never throws: what went wrong is the answer. */
export async function loginAnswer(
  admin: AdminConnection,
  { user, database }: LoginRequest,
): Promise<LoginAnswer> {
  try {
    const [row] = await admin.query('login', [user, database])
    if (row === undefined) throw new PgError('internal_error', 'no login row')
    return {
      found: row[0] === 't',
      verifier: row[1] ?? null,
      canLogin: row[2] === 't',
      validUntilMs: typeof row[3] === 'string' ? Number(row[3]) : null,
      connect: row[4] === 't',
      connectionLimit: Number(row[5] ?? -1),
      superuser: row[6] === 't',
      replication: row[7] === 't',
      databaseFound: row[8] === 't',
      databaseAllowsConnections: row[9] === 't',
    }
  } catch (error) {
    if (!(error instanceof PgError)) throw error
    return { error: error.message, sqlstate: error.sqlstate }
  }
}
