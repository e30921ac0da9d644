import { PgError } from '../../shared/errors/pg-error.ts'
import type { AdminConnection } from '../backend/admin-connection.ts'
import { isOptions, parseObject } from './open-frame.ts'

/** Whom a gateway wants to let in, and where to. */
export type LoginRequest = {
  user: string
  database: string
  /** Roles to tell membership in, besides the one named as the database; undefined: none. */
  roles?: readonly string[]
  /** What it would open a session with; undefined: it does not say. */
  options?: readonly (readonly [string, string])[]
}

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
      /** Of the roles that were asked about, those that the role is or belongs to. */
      memberOf: readonly string[]
    }
  | { error: string; sqlstate: string }

/**
 * One row always; role and database may each be missing. Names are qualified on purpose. Members
 * are told as pg_hba.conf means it: a superuser is in no role by being one.
 */
export const LOGIN_SQL = `
select r.oid is not null, r.rolpassword, r.rolcanlogin,
  case when r.rolvaliduntil = 'infinity' then null
       when r.rolvaliduntil = '-infinity' then 0
       else pg_catalog.floor(extract(epoch from r.rolvaliduntil) * 1000) end,
  pg_catalog.has_database_privilege(r.oid, d.oid, 'CONNECT'),
  r.rolconnlimit, r.rolsuper, r.rolreplication, d.oid is not null, d.datallowconn,
  case when $3::pg_catalog.text <> '[]' then (
    with recursive up(oid) as (
      select r.oid
      union select m.roleid from pg_catalog.pg_auth_members m join up on m.member = up.oid
    )
    select pg_catalog.json_agg(p.rolname) from up
    join pg_catalog.pg_authid p on p.oid = up.oid
    where p.rolname = any (
      select pg_catalog.json_array_elements_text($3::pg_catalog.text::pg_catalog.json)
    )
  ) end
from (select 1) one
left join pg_catalog.pg_authid r on r.rolname = $1
left join pg_catalog.pg_database d on d.datname = $2`

/** Reads a LOGIN frame's JSON. @throws PgError protocol_violation. */
export function readLogin(text: string): LoginRequest {
  const { user, database, roles = null, options } = parseObject(text)
  const named = roles === null || (Array.isArray(roles) && roles.every(isText))
  const opens = options === undefined || isOptions(options)
  if (typeof user !== 'string' || typeof database !== 'string' || !named || !opens) {
    throw new PgError('protocol_violation', 'link: malformed login request')
  }
  const login = options === undefined ? { user, database } : { user, database, options }
  return roles === null ? login : { ...login, roles: roles as string[] }
}

/**
 * The questions of one link. Those that are alike and come in one turn of the event loop get one
 * answer, which is read behind the last of them: a thousand clients that come back at once do not
 * ask Postgres a thousand times. Between turns nothing is kept, so a changed password counts.
 */
export class LoginQuestions {
  readonly #admin: Asked
  #asked = new Map<string, Promise<LoginAnswer>>()
  readonly #forget = (): void => this.#asked.clear()

  constructor(admin: Asked) {
    this.#admin = admin
  }

  /** Never throws: what went wrong is the answer. */
  ask(login: LoginRequest): Promise<LoginAnswer> {
    const key = JSON.stringify([login.user, login.database, login.roles])
    const known = this.#asked.get(key)
    if (known !== undefined) return known
    // Asked for before the query: it is forgotten before, or as, the query leaves.
    if (this.#asked.size === 0) setImmediate(this.#forget)
    const answer = loginAnswer(this.#admin, login)
    this.#asked.set(key, answer)
    return answer
  }
}

/** What is asked of an admin connection. */
type Asked = Pick<AdminConnection, 'query'>

/** Asks Postgres. Never throws: what went wrong is the answer. */
export async function loginAnswer(
  admin: Asked,
  { user, database, roles }: LoginRequest,
): Promise<LoginAnswer> {
  try {
    const [row] = await admin.query('login', [user, database, askedAbout(database, roles)])
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
      memberOf: typeof row[10] === 'string' ? (JSON.parse(row[10]) as string[]) : [],
    }
  } catch (error) {
    if (!(error instanceof PgError)) throw error
    return { error: error.message, sqlstate: error.sqlstate }
  }
}

function askedAbout(database: string, roles: readonly string[] | undefined): string {
  return roles === undefined ? '[]' : JSON.stringify([...roles, database])
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}
