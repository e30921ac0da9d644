// The words of the console, PgBouncer's and ours.

import { PgError } from '../../shared/errors/pg-error.ts'
import { TABLES, type TableName } from './columns.ts'
import { tokenize, type Token } from './tokens.ts'

/** Commands that take a database, or mean all without one. */
const OF_DATABASES = ['PAUSE', 'RESUME', 'RECONNECT', 'KILL', 'WAIT_CLOSE'] as const
/** Commands that must name one. */
const OF_DATABASE = ['DISABLE', 'ENABLE'] as const

/** First word -> tag, of what drivers wrap around statements, or clean a session with. */
const OF_SESSIONS: ReadonlyMap<string, string> = new Map([
  ['BEGIN', 'BEGIN'],
  ['START', 'START TRANSACTION'],
  ['COMMIT', 'COMMIT'],
  ['END', 'COMMIT'],
  ['ROLLBACK', 'ROLLBACK'],
  ['DISCARD', 'DISCARD ALL'],
  ['DEALLOCATE', 'DEALLOCATE ALL'],
  ['RESET', 'RESET'],
])

/** Settings of a Postgres session that drivers set when they connect. */
const OF_DRIVERS: ReadonlySet<string> = new Set([
  'application_name',
  'bytea_output',
  'client_encoding',
  'client_min_messages',
  'datestyle',
  'extra_float_digits',
  'intervalstyle',
  'lock_timeout',
  'search_path',
  'standard_conforming_strings',
  'statement_timeout',
  'timezone',
])

/** What a client asks for. */
export type Command =
  | { readonly verb: 'SHOW'; readonly table: TableName | 'HELP' }
  | { readonly verb: (typeof OF_DATABASES)[number]; readonly database: string | undefined }
  | { readonly verb: (typeof OF_DATABASE)[number]; readonly database: string }
  | { readonly verb: 'KILL_CLIENT'; readonly session: number }
  | { readonly verb: 'SET'; readonly name: string; readonly value: string }
  | { readonly verb: 'SHUTDOWN'; readonly wait: 'clients' | 'servers' | undefined }
  | { readonly verb: 'RELOAD' }
  /** What a driver says to a session of Postgres; it means nothing here, and does no harm. */
  | { readonly verb: 'NOTHING'; readonly tag: string }

/** Reads the commands of a text; none for one that is empty. @throws PgError syntax_error */
export function parseCommands(text: string): Command[] {
  return tokenize(text).map((tokens) => parse(tokens))
}

function parse(tokens: readonly Token[]): Command {
  const [first, second, ...rest] = tokens
  const verb = wordOf(first)
  if (verb === 'SHOW' && second?.kind === 'word' && rest.length === 0) {
    return { verb, table: tableOf(second.text) }
  }
  if (verb === 'SET') return parseSet(tokens)
  if (verb === 'SHUTDOWN') return { verb, wait: waitOf(tokens) }
  if (OF_SESSIONS.has(verb)) return { verb: 'NOTHING', tag: OF_SESSIONS.get(verb) ?? verb }
  if (rest.length > 0) throw unknown(tokens)
  if (verb === 'RELOAD' && second === undefined) return { verb }
  if (verb === 'SUSPEND') throw refused('SUSPEND', 'a gateway hands its sockets to nobody: PAUSE')
  if (verb === 'KILL_CLIENT') return { verb, session: sessionOf(second) }
  const database = second === undefined ? undefined : databaseOf(tokens, second)
  const many = OF_DATABASES.find((known) => known === verb)
  if (many !== undefined) return { verb: many, database }
  const one = OF_DATABASE.find((known) => known === verb)
  if (one === undefined) throw unknown(tokens)
  if (database === undefined) throw new PgError('syntax_error', `${one} needs a database`)
  return { verb: one, database }
}

function wordOf(token: Token | undefined): string {
  return token?.kind === 'word' ? token.text.toUpperCase() : ''
}

function tableOf(word: string): TableName | 'HELP' {
  const name = word.toUpperCase()
  if (name === 'HELP') return name
  if (name === 'FDS') throw refused('SHOW FDS', 'a gateway hands its sockets to nobody')
  if (Object.hasOwn(TABLES, name)) return name as TableName
  throw unknown([
    { kind: 'word', text: 'SHOW' },
    { kind: 'word', text: word },
  ])
}

/** `SET name = value`, `SET name TO value`; the value may be a list, which stays one text. */
function parseSet(tokens: readonly Token[]): Command {
  const [, ...all] = tokens
  if (['SESSION', 'LOCAL'].includes(wordOf(all[0])) && all[1]?.kind !== 'sign') all.shift()
  const [name, sign, ...values] = all
  const assigns = sign?.text === '=' || wordOf(sign) === 'TO'
  if (name === undefined || name.kind === 'sign' || !assigns || values.length === 0) {
    throw unknown(tokens)
  }
  if (name.kind === 'word' && OF_DRIVERS.has(name.text.toLowerCase())) {
    return { verb: 'NOTHING', tag: 'SET' }
  }
  const value = values.map(({ text }) => text).join('')
  return { verb: 'SET', name: name.kind === 'word' ? name.text.toLowerCase() : name.text, value }
}

function waitOf(tokens: readonly Token[]): 'clients' | 'servers' | undefined {
  const [, second, ...rest] = tokens
  if (rest.length > 0) throw unknown(tokens)
  if (second === undefined) return undefined
  if (wordOf(second) === 'WAIT_FOR_CLIENTS') return 'clients'
  if (wordOf(second) === 'WAIT_FOR_SERVERS') return 'servers'
  throw unknown(tokens)
}

function sessionOf(token: Token | undefined): number {
  const id = /^(?:0x[\da-f]+|\d+)$/i.test(token?.text ?? '') ? Number(token?.text) : Number.NaN
  if (Number.isSafeInteger(id)) return id
  throw new PgError('syntax_error', 'KILL_CLIENT needs the id of a client', {
    hint: 'SHOW CLIENTS has it in the column id.',
  })
}

function databaseOf(tokens: readonly Token[], token: Token): string {
  if (token.kind === 'sign') throw unknown(tokens)
  return token.text
}

function refused(what: string, why: string): PgError {
  return new PgError('feature_not_supported', `${what} is not supported: ${why}`)
}

/** Longest part of a command that is said back. */
const SHOWN_CHARS_MAX = 60

function unknown(tokens: readonly Token[]): PgError {
  const text = tokens.map((token) => token.text).join(' ')
  const shown = text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)}...` : text
  const hint = 'This is the admin console, not a database: SHOW HELP lists its commands.'
  return new PgError('syntax_error', `invalid command '${shown}'`, { hint })
}
