import type { Frontend } from '../support/frontend.ts'

/** What a backend holds for its session, as far as SQL can tell; each facet as a text. */
export type SessionState = ReadonlyMap<string, string>

const FACETS: Readonly<Record<string, string>> = {
  settings: `(select string_agg(name || '=' || setting, ' ' order by name) from pg_catalog.pg_settings
    where source = 'session' and name not like 'transaction_%')`,
  role: "current_user || ' of ' || session_user",
  temp: `(select string_agg(c.relname, ' ' order by c.relname) from pg_catalog.pg_class c
    where c.relnamespace = pg_catalog.pg_my_temp_schema())`,
  tempTypes: `(select string_agg(t.typname, ' ' order by t.typname) from pg_catalog.pg_type t
    where t.typnamespace = pg_catalog.pg_my_temp_schema() and t.typrelid = 0 and t.typelem = 0)`,
  tempFunctions: `(select string_agg(p.proname, ' ' order by p.proname) from pg_catalog.pg_proc p
    where p.pronamespace = pg_catalog.pg_my_temp_schema())`,
  locks: `(select pg_catalog.count(*) from pg_catalog.pg_locks
    where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid())`,
  cursors: "(select string_agg(name, ' ' order by name) from pg_catalog.pg_cursors)",
  prepared: `(select string_agg(name, ' ' order by name) from pg_catalog.pg_prepared_statements
    where name <> '')`,
  channels: "(select string_agg(c, ' ' order by c) from pg_catalog.pg_listening_channels() c)",
}
const COLUMNS = Object.values(FACETS).map((sql) => `coalesce(${sql}::text, '')`)

/**
 * Reads all of it; `customNames` are settings with a dot, of which no view tells. Only for a session
 * that is in no transaction.
 */
export async function readState(
  frontend: Frontend,
  customNames: readonly string[],
): Promise<SessionState> {
  const custom = customNames.map((name) => `pg_catalog.current_setting('${name}', true)`)
  const values = await frontend.row(`select ${[...COLUMNS, ...custom].join(', ')}`)
  const names = [...Object.keys(FACETS), ...customNames]
  const state = new Map(names.map((name, at) => [name, values[at] ?? 'never heard of']))
  const last = await frontend.query('select lastval()')
  return state.set('sequences', last.find((line) => line.startsWith('DataRow')) ?? '')
}

/** The facets in which two states differ, with both values. */
export function differences(before: SessionState, after: SessionState): string[] {
  return [...after]
    .filter(([facet, value]) => value !== before.get(facet))
    .map(([facet, value]) => `${facet}: ${before.get(facet) ?? ''} -> ${value}`)
}
