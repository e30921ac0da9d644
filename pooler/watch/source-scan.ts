// What a source may leave behind in the session that runs it, told from its words; and the words
// themselves, for what it reaches by other names.

import { calledHash, Facet, nameHash } from '../../shared/link/watch.ts'
import { tokensOf, type SourceToken } from './source-tokens.ts'

/** What a source says. */
export type Scan = {
  facets: number
  /** Names of settings that it may set, in small letters. */
  readonly settings: Set<string>
  /** Hashes of all its words, and of those that a parenthesis follows, as such. */
  readonly words: Set<number>
}

/** A new scan of nothing. */
export function emptyScan(): Scan {
  return { facets: 0, settings: new Set(), words: new Set() }
}

/** What says another thing on another server, or does something outside of the database. */
const ON_SERVER = /^(?:pg_(?!catalog$|typeof$|get_|temp$|toast$)|txid_|inet_|dblink|lo_|plpy)/
const LOCKS = ['', '_shared']
const NAMES: ReadonlyMap<string, number> = new Map([
  ['nextval', Facet.Advances],
  ['setval', Facet.Advances],
  ['insert', Facet.Advances],
  ['merge', Facet.Advances],
  ['copy', Facet.Advances],
  ['currval', Facet.ReadsSequence],
  ['lastval', Facet.ReadsSequence],
  ['setseed', Facet.Setseed],
  ['pg_temp', Facet.Temp],
  ['set_limit', Facet.AnySetting],
  ...LOCKS.flatMap((kind): [string, number][] => [
    [`pg_advisory_lock${kind}`, Facet.AdvisoryLock],
    [`pg_try_advisory_lock${kind}`, Facet.AdvisoryLock],
    [`pg_advisory_unlock${kind}`, Facet.Unlocks],
  ]),
  ['pg_advisory_unlock_all', Facet.Unlocks],
  ...`dblink_connect dblink_connect_u dblink_open pg_replication_origin_session_setup
    pg_create_logical_replication_slot pg_create_physical_replication_slot
    pg_copy_logical_replication_slot pg_copy_physical_replication_slot pg_backup_start`
    .split(/\s+/)
    .map((name): [string, number] => [name, Facet.Unknown]),
  ...`query_to_xml query_to_xmlschema query_to_xml_and_xmlschema ts_stat ts_rewrite crosstab
    crosstab2 crosstab3 crosstab4 connectby xpath_table`
    .split(/\s+/)
    .map((name): [string, number] => [name, Facet.Computed]),
])
/** By the first word of a statement. */
const COMMANDS: ReadonlyMap<string, number> = new Map([
  ['listen', Facet.Listen],
  ['unlisten', Facet.Unlocks],
  ['prepare', Facet.Prepared],
  ['deallocate', Facet.Prepared],
  ['discard', Facet.Prepared | Facet.Computed],
  ['load', Facet.Unknown],
  ['create', Facet.Catalog],
  ['alter', Facet.Catalog],
  ['drop', Facet.Catalog],
  ['import', Facet.Catalog],
])
/** A text that begins with one of these is one statement of a kind that sets nothing itself. */
const PLAIN = new Set(
  `select insert update delete merge truncate with values table analyze vacuum refresh comment
  grant revoke create alter drop lock notify reindex cluster explain copy perform`.split(/\s+/),
)
const BEFORE_STATEMENT = new Set(['begin', 'then', 'else', 'loop', 'atomic', 'as'])
const BEFORE_TEMP = new Set(['create', 'replace', 'local', 'global', 'into'])
const PLAIN_NAME = /^[a-z_][a-z0-9_$]*(?:\.[a-z_][a-z0-9_$]*)*$/
/** Strings in strings in strings. */
const DEPTH_MAX = 4

/** Adds what `source` says to `scan`. */
export function scanSource(source: string, scan: Scan, depth = 0): void {
  const tokens = tokensOf(source)
  const has = new Set<string>()
  for (let at = 0; at < tokens.length; at++) {
    const { kind, text } = tokens[at] as SourceToken
    if (kind !== 'word') continue
    has.add(text)
    const hash = nameHash(text)
    scan.words.add(hash)
    if (tokens[at + 1]?.text === '(') scan.words.add(calledHash(hash))
    scan.facets |= NAMES.get(text) ?? 0
    if (ON_SERVER.test(text)) scan.facets |= Facet.OnServer
    if (text === 'set_config') setConfig(tokens, at, scan)
    else if (text === 'execute') execute(tokens, at, scan, depth)
    else if (text === 'hold' && tokens[at - 1]?.text === 'with') scan.facets |= Facet.Cursor
    else if (/^temp(?:orary)?$/.test(text) && BEFORE_TEMP.has(tokens[at - 1]?.text ?? '')) {
      scan.facets |= Facet.Temp
    }
    if (begins(tokens, at)) statement(tokens, at, scan, depth)
  }
  if (has.has('pg_settings') && has.has('update')) scan.facets |= Facet.Computed
}

function begins(tokens: readonly SourceToken[], at: number): boolean {
  const before = tokens[at - 1]
  if (before === undefined || before.text === ';' || before.text === '>>') return true
  return before.kind === 'word' && BEFORE_STATEMENT.has(before.text)
}

function statement(tokens: readonly SourceToken[], at: number, scan: Scan, depth: number): void {
  const text = tokens[at]?.text ?? ''
  const temporary = /^temp(?:orary)?$/.test(tokens[at + 1]?.text ?? '')
  if (text === 'create' && temporary) return // nobody else finds it
  scan.facets |= COMMANDS.get(text) ?? 0
  if (text === 'set' || text === 'reset') setting(tokens, at + 1, scan)
  else if (text === 'do') dynamic(tokens, at, scan, depth)
}

/** SET and RESET, behind the word. */
function setting(tokens: readonly SourceToken[], start: number, scan: Scan): void {
  let at = start
  let local = false
  const first = tokens[at]?.text
  if (first === 'constraints' || first === 'transaction') return
  if (first === 'session' || first === 'local') {
    local = first === 'local'
    at++
  }
  let name = tokens[at++]?.text ?? ''
  while (tokens[at]?.text === '.') {
    name += `.${tokens[at + 1]?.text}`
    at += 2
  }
  if (name === 'time' && tokens[at]?.text === 'zone') name = 'timezone'
  if (name === 'authorization') name = 'session_authorization'
  if (name === 'characteristics' || name === 'all') scan.facets |= Facet.Computed
  else named(name, local, scan)
}

function named(text: string, local: boolean, scan: Scan): void {
  const name = text.toLowerCase()
  if (name === 'seed') scan.facets |= Facet.Setseed
  // A custom name is known from now on, whatever becomes of its value.
  if (local && !name.includes('.')) return
  if (!PLAIN_NAME.test(name)) scan.facets |= Facet.AnySetting
  else {
    scan.facets |= Facet.Settings
    scan.settings.add(name)
  }
}

function setConfig(tokens: readonly SourceToken[], at: number, scan: Scan): void {
  // As Postgres prints an expression: set_config('a'::text, 'b'::text, false).
  const first = tokens[at + 2]
  let next = at + 3
  while (tokens[next]?.text === ':' || tokens[next]?.text === 'text') next++
  if (tokens[at + 1]?.text !== '(' || first?.kind !== 'string' || tokens[next]?.text !== ',') {
    scan.facets |= Facet.AnySetting
    return
  }
  named(first.text, isLocal(tokens, next), scan)
}

/** The call that goes on at `from` ends with a plain `true`. */
function isLocal(tokens: readonly SourceToken[], from: number): boolean {
  let depth = 0
  for (let at = from; at < tokens.length; at++) {
    const { text, kind } = tokens[at] as SourceToken
    if (kind === 'string') continue
    if (text === '(') depth++
    else if (text === ')' && depth-- === 0) {
      return tokens[at - 1]?.text === 'true' && tokens[at - 2]?.text === ','
    }
  }
  return false
}

/** EXECUTE of a text; not a trigger's, and no privilege. */
function execute(tokens: readonly SourceToken[], at: number, scan: Scan, depth: number): void {
  const next = tokens[at + 1]?.text
  if (next === 'function' || next === 'procedure' || next === 'on') return
  dynamic(tokens, at, scan, depth)
}

/** What is in the strings up to the end of the statement is read as well. */
function dynamic(tokens: readonly SourceToken[], start: number, scan: Scan, depth: number): void {
  let whole = tokens[start + 1]?.kind === 'string'
  let head: string | undefined
  for (let at = start + 1; at < tokens.length; at++) {
    const { kind, text } = tokens[at] as SourceToken
    if (kind === 'symbol' && text === ';') break
    if (kind !== 'string') {
      if (text === '||') whole = false
      continue
    }
    head ??= firstWord(tokens, start, at)
    if (depth >= DEPTH_MAX) whole = false
    else scanSource(text, scan, depth + 1)
  }
  if (whole) return
  scan.facets |= Facet.Computed | Facet.Advances | Facet.Catalog
  if (head === undefined || !PLAIN.has(head)) scan.facets |= Facet.Unknown
}

/** The first word of the text that EXECUTE runs, if it begins with the string at `at`. */
function firstWord(tokens: readonly SourceToken[], start: number, at: number): string | undefined {
  const between = tokens.slice(start + 1, at)
  const heads = between.every(({ text }) => text === '(' || text === 'format')
  const word = /^[\s(]*([A-Za-z]+)/.exec(tokens[at]?.text ?? '')?.[1]?.toLowerCase()
  return heads ? (word ?? '') : ''
}
