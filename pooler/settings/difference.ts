// The unit that turns what a backend holds into what a session holds: Query messages to be sent
// before the session's batch, which may only follow when all of them have succeeded.
//
// Order (each line was measured to matter):
// - statement_timeout is off while it runs: the last session's could end it half way.
// - session_authorization and role go back first and come last: the names between may be settable
//   by the login role only, and SET SESSION AUTHORIZATION resets the role.
// - The text of one message is read under one client_encoding: UTF8 for names and values beyond
//   ASCII; the session's own comes in a message of its own, last.
// - Lists of identifiers (search_path) go through set_config, which takes the text as it is: SET
//   would quote it as one name. That is a SELECT and takes a snapshot, so it has a transaction of
//   its own: under default_transaction_deferrable it would wait for every writer.
import { query } from '../../shared/pgwire/frontend.ts'
import { literal, settingName } from './quoting.ts'
import { roleOid, type SettingPair, type SettingsSet } from './settings-set.ts'

/** SET quotes each argument of these. */
const LISTS = new Set([
  'search_path',
  'temp_tablespaces',
  'session_preload_libraries',
  'local_preload_libraries',
  'shared_preload_libraries',
  'unix_socket_directories',
])
const AUTHORITIES = ['session_authorization', 'role']
const ENCODING = 'client_encoding'
const TIMEOUT = 'statement_timeout'
const APART = new Set([...AUTHORITIES, ENCODING, TIMEOUT])
const BEGIN = 'BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY NOT DEFERRABLE'
const BEYOND_ASCII = /[^\0-\x7f]/

/** The messages that make a backend that holds `from` hold `to`. `encoding` is what it has now. */
export function differenceMessages(from: SettingsSet, to: SettingsSet, encoding: string): Buffer[] {
  const set = to.pairs.filter(([name, value]) => from.get(name) !== value)
  const reset = from.pairs.filter(([name]) => to.get(name) === undefined)
  const text = statements(from, to, set, reset).join(';')
  const foreign = encoding !== 'UTF8' && BEYOND_ASCII.test(text)
  const changed = from.get(ENCODING) !== to.get(ENCODING)
  const messages: Buffer[] = []
  if (foreign) messages.push(query("SET client_encoding = 'UTF8'"))
  if (text !== '') messages.push(query(text))
  if (foreign || changed) messages.push(query(assignment(to, ENCODING)))
  return messages
}

function statements(
  from: SettingsSet,
  to: SettingsSet,
  set: readonly SettingPair[],
  reset: readonly SettingPair[],
): string[] {
  const body = middle(set, reset)
  const changes = (name: string): boolean => from.get(name) !== to.get(name)
  const authorities = AUTHORITIES.some(changes)
  const timeout = changes(TIMEOUT)
  if (body.length === 0 && !authorities && !timeout) return []
  const elevated = AUTHORITIES.some((name) => (from.get(name) ?? to.get(name)) !== undefined)
  const timed = (from.get(TIMEOUT) ?? to.get(TIMEOUT)) !== undefined
  return [
    ...(timed ? ['SET statement_timeout = 0'] : []),
    ...(elevated ? ['RESET session_authorization', 'RESET role'] : []),
    ...body,
    ...AUTHORITIES.flatMap((name) => authority(to, name)),
    ...(timed ? [assignment(to, TIMEOUT)] : []),
  ]
}

/** What is between the ends: resets, plain values, lists. */
function middle(set: readonly SettingPair[], reset: readonly SettingPair[]): string[] {
  const values = set.filter(([name]) => !APART.has(name))
  const lists = values.filter(([name]) => LISTS.has(name))
  const texts = reset
    .filter(([name]) => !APART.has(name))
    .map(([name]) => `RESET ${settingName(name)}`)
  for (const [name, value] of values) {
    if (!LISTS.has(name)) texts.push(`SET ${settingName(name)} = ${literal(value)}`)
  }
  if (lists.length > 0) {
    const calls = lists.map(
      ([name, value]) => `pg_catalog.set_config(${literal(name)}, ${literal(value)}, false)`,
    )
    texts.push(BEGIN, `SELECT ${calls.join()}`, 'COMMIT')
  }
  return texts
}

/** By oid: a role that was renamed is the same one, and one that was dropped is an error. */
function authority(to: SettingsSet, name: string): string[] {
  const value = to.get(name)
  if (value === undefined) return []
  const oid = roleOid(value)
  if (oid === undefined) return [assignment(to, name)]
  const role = `pg_catalog.pg_get_userbyid('${oid}'::pg_catalog.oid)`
  return [BEGIN, `SELECT pg_catalog.set_config('${name}', ${role}, false)`, 'COMMIT']
}

function assignment(to: SettingsSet, name: string): string {
  const value = to.get(name)
  return value === undefined ? `RESET ${name}` : `SET ${name} = ${literal(value)}`
}
