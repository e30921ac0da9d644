// The question that a look asks, and how its answer is read. Pure.
//
// - It has a transaction of its own, whose mode no default_transaction_* can make wait.
// - statement_timeout is read and switched off by one statement: a session with 1 ms would end it.
// - Functions, types and operators are named with their schema: search_path is the session's.
// - Values come as hex of UTF8: they survive any client_encoding.
// - A setting's startup value is what set_config(name, NULL, true) answers: it resets it until the
//   end of the transaction. So "beyond its startup value" is always of this moment. A custom name
//   (with a dot) has none: that it is known at all is beyond what a fresh backend has.
// - It is sent by the extended protocol: a simple Query would drop the session's unnamed statement.
import { Pin } from '../../shared/link/frame.ts'
import { bind, close, execute, parse, sync } from '../../shared/pgwire/frontend.ts'
import { literal } from './quoting.ts'
import { isCustomName, roleValue, type SettingPair } from './settings-set.ts'

/** What to look at. */
export type LookRequest = {
  /** Names to read; undefined: not the settings. */
  readonly names: readonly string[] | undefined
  /** Read every setting that differs from its startup value, and the custom ones of `names`. */
  readonly whole: boolean
  /** The pins to ask about. */
  readonly pins: number
  /** Of Pin.Sequence: the sequence that was advanced last may be gone. */
  readonly thorough: boolean
}

/** One row of an answer: its tag, then its values. */
export type LookRow = readonly (string | null)[]

/** What was found. */
export type LookAnswer = {
  /** Undefined when settings were not asked for. */
  readonly settings: readonly SettingPair[] | undefined
  /** Of the pins asked about, those that the backend really has. */
  readonly pins: number
}

const BEGIN = 'BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY NOT DEFERRABLE'
const TIMEOUT = 'statement_timeout'
const AUTHORITIES = ['session_authorization', 'role']
/** Who that really is, whatever has its name now. */
const AUTHORITY_OIDS = ['session_user', 'current_user'].map(
  (user) => `pg_catalog.to_regrole(pg_catalog.quote_ident(${user}))::pg_catalog.oid`,
)
/** Read in their own way, or no settings of a session: they are the transaction's. */
const APART = new Set([
  TIMEOUT,
  ...AUTHORITIES,
  'seed',
  'transaction_isolation',
  'transaction_read_only',
  'transaction_deferrable',
])
/** A statement name that no gateway uses. */
const STATEMENT = 'mg:!look'
const Tag = { Timeout: 't', Named: 'n', Whole: 'w', Pins: 'p', Sequence: 's' } as const

/** Everything that lies in the session's temporary schema depends on it. */
const TEMP_OBJECTS = `EXISTS (SELECT 1 FROM pg_catalog.pg_depend
  WHERE refclassid OPERATOR(pg_catalog.=) 2615::pg_catalog.oid
  AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())`
/** Shared statements are ours: they were parsed under a name that begins with mg: and no mg::. */
const PREPARED = `EXISTS (SELECT 1 FROM pg_catalog.pg_prepared_statement() AS s
  WHERE s.from_sql OR NOT pg_catalog.starts_with(s.name, 'mg:')
  OR pg_catalog.starts_with(s.name, 'mg::'))`
const CURSORS = 'EXISTS (SELECT 1 FROM pg_catalog.pg_cursor() AS c WHERE c.is_holdable)'
const ADVISORY = `EXISTS (SELECT 1 FROM pg_catalog.pg_lock_status() AS l
  WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory'
  AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())`
const CHANNELS = 'EXISTS (SELECT 1 FROM pg_catalog.pg_listening_channels())'

// lastval() is an error where no sequence was advanced, and an error that nobody catches is a line
// in Postgres's log. What was caught is told by a setting that the COMMIT sets back.
const MARK = 'lock_timeout'
const UNMARKED = '2147483646'
const MARKED = '2147483647'
const SET_MARK = `PERFORM pg_catalog.set_config('${MARK}', '${MARKED}', true);`
const ASK_LAST = `PERFORM pg_catalog.lastval(); ${SET_MARK}
  EXCEPTION WHEN object_not_in_prerequisite_state THEN NULL; WHEN OTHERS THEN ${SET_MARK}`
/** One by one; where there are more, any may have been advanced. */
const SEQUENCES_MAX = 300
// lastval() knows of one sequence alone; when that was dropped, it hides all others.
const ASK_ALL = `DECLARE s pg_catalog.oid; BEGIN
  IF (SELECT pg_catalog.count(*) FROM pg_catalog.pg_sequence)
    OPERATOR(pg_catalog.>) ${SEQUENCES_MAX}::pg_catalog.int8 THEN ${SET_MARK} END IF;
  FOR s IN SELECT seqrelid FROM pg_catalog.pg_sequence LIMIT ${SEQUENCES_MAX} LOOP
    BEGIN PERFORM pg_catalog.currval(s::pg_catalog.regclass); ${SET_MARK}
    EXCEPTION WHEN OTHERS THEN NULL; END;
  END LOOP; END`

function sequenceQuestion(thorough: boolean): string[] {
  return [
    `SELECT pg_catalog.set_config('${MARK}', '${UNMARKED}', true)`,
    `DO LANGUAGE plpgsql $mg$BEGIN ${ASK_LAST} END$mg$`,
    ...(thorough ? [`DO LANGUAGE plpgsql $mg$${ASK_ALL}$mg$`] : []),
    `SELECT '${Tag.Sequence}', pg_catalog.current_setting('${MARK}')`,
  ]
}

const PIN_QUESTIONS: readonly (readonly [number, string])[] = [
  [Pin.TempObjects, TEMP_OBJECTS],
  [Pin.SqlPrepare, PREPARED],
  [Pin.CursorWithHold, CURSORS],
  [Pin.AdvisoryLock, ADVISORY],
  [Pin.Listen, CHANNELS],
]

/** The messages of a look; `failed`: one that failed went before, and its transaction is open. */
export function lookMessages(request: LookRequest, failed: boolean): Buffer {
  const texts = [BEGIN, timeoutQuestion()]
  if (failed) texts.unshift('ROLLBACK')
  if (request.names !== undefined) texts.push(namedQuestion(request))
  if (request.whole) texts.push(wholeQuestion())
  if ((request.pins & ~Pin.Sequence) !== 0) texts.push(pinsQuestion(request.pins))
  if ((request.pins & Pin.Sequence) !== 0) texts.push(...sequenceQuestion(request.thorough))
  return statements([...texts, 'COMMIT'])
}

/** The messages that end the transaction of a look that failed. */
export function giveUpMessages(): Buffer {
  return statements(['ROLLBACK'])
}

/** Reads the rows that `lookMessages` of `request` brought; undefined when they make no sense. */
export function readLook(request: LookRequest, rows: readonly LookRow[]): LookAnswer | undefined {
  const rowOf = (tag: string): LookRow | undefined => rows.find((row) => row[0] === tag)
  const found = rowOf(Tag.Pins)
  if ((request.pins & ~Pin.Sequence) !== 0 && found === undefined) return undefined
  const sequence = rowOf(Tag.Sequence)?.[1]?.startsWith(UNMARKED) === true ? 0 : Pin.Sequence
  const pins = PIN_QUESTIONS.filter(([pin]) => (request.pins & pin) !== 0).reduce(
    (mask, [pin], at) => (found?.[at + 1] === 't' ? mask | pin : mask),
    request.pins & sequence,
  )
  if (request.names === undefined) return { settings: undefined, pins }
  const timeout = rowOf(Tag.Timeout)
  const named = rowOf(Tag.Named)
  if (timeout === undefined || named === undefined) return undefined
  const settings: SettingPair[] = []
  if (timeout[1] !== timeout[2]) settings.push([TIMEOUT, unhex(timeout[1] ?? '')])
  readNamed(request, named, settings)
  for (const row of rows) {
    if (row[0] === Tag.Whole) settings.push([(row[1] ?? '').toLowerCase(), unhex(row[2] ?? '')])
  }
  return { settings, pins }
}

/** In the row, behind the tag and the authorities' oids. */
const VALUES_AT = 1 + AUTHORITIES.length

function readNamed(request: LookRequest, row: LookRow, settings: SettingPair[]): void {
  const names = columnsOf(request)
  for (const [at, name] of names.entries()) {
    const value = row[at + VALUES_AT]
    if (value === null || value === undefined) continue
    if (!isCustomName(name) && value === row[at + VALUES_AT + names.length]) continue
    const oid = at < AUTHORITIES.length ? row[at + 1] : undefined
    settings.push([name, oid ? roleValue(unhex(value), oid) : unhex(value)])
  }
}

/** The names that the named question reads: all first, then their startup values. */
function columnsOf(request: LookRequest): string[] {
  const names = new Set(request.names)
  const asked = [...names].filter(
    (name) => !APART.has(name) && (!request.whole || isCustomName(name)),
  )
  return [...AUTHORITIES, ...asked]
}

function timeoutQuestion(): string {
  const now = hexOf(`pg_catalog.current_setting('${TIMEOUT}')`)
  const startup = hexOf(`pg_catalog.set_config('${TIMEOUT}', NULL, true)`)
  const lifted = `pg_catalog.set_config('${TIMEOUT}', '0', true)`
  return `SELECT '${Tag.Timeout}', ${now}, ${startup}, ${lifted}`
}

function namedQuestion(request: LookRequest): string {
  const names = columnsOf(request)
  const current = (name: string): string => `pg_catalog.current_setting(${literal(name)}, true)`
  const values = names.map((name) => hexOf(current(name)))
  const resets = names.map((name) =>
    isCustomName(name)
      ? 'NULL'
      : `CASE WHEN ${current(name)} IS NOT NULL THEN
         ${hexOf(`pg_catalog.set_config(${literal(name)}, NULL, true)`)} END`,
  )
  return `SELECT '${Tag.Named}', ${[...AUTHORITY_OIDS, ...values, ...resets].join()}`
}

function wholeQuestion(): string {
  const not = [...APART].map((name) => `AND s.name OPERATOR(pg_catalog.<>) '${name}'`).join(' ')
  return `SELECT '${Tag.Whole}', s.name, ${hexOf('pg_catalog.current_setting(s.name, true)')}
    FROM pg_catalog.pg_show_all_settings() AS s
    WHERE s.source OPERATOR(pg_catalog.=) 'session' ${not}
    AND COALESCE(s.setting, '') OPERATOR(pg_catalog.<>) COALESCE(s.reset_val, '')`
}

function pinsQuestion(pins: number): string {
  const asked = PIN_QUESTIONS.filter(([pin]) => (pins & pin) !== 0).map(([, sql]) => sql)
  return `SELECT '${Tag.Pins}', ${asked.join()}`
}

function hexOf(text: string): string {
  return `pg_catalog.encode(pg_catalog.convert_to(${text}, 'UTF8'), 'hex')`
}

function unhex(hex: string): string {
  return Buffer.from(hex, 'hex').toString('utf8')
}

function statements(texts: readonly string[]): Buffer {
  const forget = close({ statement: STATEMENT })
  const messages = texts.flatMap((text) => [
    forget,
    parse(text, { name: STATEMENT }),
    bind({ statement: STATEMENT }),
    execute(),
  ])
  return Buffer.concat([...messages, forget, sync()])
}
