// Moves with prepared statements of every kind, under names that all sessions use.
import { bind, close, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { ChurnSession, Expected, Prepared } from './churn-client.ts'
import type { Row } from './exchange.ts'
import type { Move } from './moves.ts'
import { schemaOf } from './moves-settings.ts'

const NAMES = ['p1', 'p2', 'p3', 'p4']
const SQL_NAMES = ['q1', 'q2']
/** Midnight at UTC, seconds since 1970. */
const MIDNIGHT = 1_704_067_200
const LITERAL = "select extract(epoch from timestamptz '2024-01-01 00:00')::bigint"

function textOf(prepared: Prepared): string {
  if (prepared.kind === 'mark') return `select $1::text || '${prepared.suffix}'`
  return prepared.kind === 'who' ? 'select name from who' : LITERAL
}

function choose(session: ChurnSession): Prepared {
  const kind = session.random.pick(['mark', 'shared', 'who', 'literal'] as const)
  if (kind === 'who') return { kind }
  if (kind === 'literal') return { kind, zones: new Set([zoneOf(session)]) }
  return { kind: 'mark', suffix: kind === 'shared' ? 'of all' : session.fresh() }
}

const zoneOf = (session: ChurnSession): string => session.settings.value('TimeZone') ?? ''

async function prepare(session: ChurnSession): Promise<void> {
  const name = session.random.pick(NAMES)
  const prepared = choose(session)
  const exists = session.prepared.has(name)
  const expected: Expected = exists ? { error: '42P05' } : {}
  const parts = [parse(textOf(prepared), { name }), sync()]
  const answer = await session.send(parts, expected, `Parse ${name}`)
  if (answer !== undefined && answer.error === undefined) session.prepared.set(name, prepared)
}

async function executeNamed(session: ChurnSession): Promise<void> {
  const name = session.random.pick(NAMES)
  const prepared = session.prepared.get(name)
  const values = prepared?.kind === 'mark' ? [session.mark] : []
  const parts = [bind({ statement: name, values }), execute(), sync()]
  const expected =
    prepared === undefined ? { error: '26000', always: true } : ranOf(session, prepared)
  await session.send(parts, expected, `Bind ${name}`)
}

/** Two batches at once: the second goes out before the first has answered. */
async function executeSql(session: ChurnSession): Promise<void> {
  const name = session.random.pick(NAMES)
  const prepared = session.prepared.get(name)
  const call = prepared?.kind === 'mark' ? `execute ${name}('${session.mark}')` : `execute ${name}`
  const expected = prepared === undefined ? { error: '26000' } : ranOf(session, prepared)
  await session.send([query(call)], expected, call)
  session.unnamed = 'foreign'
}

function ranOf(session: ChurnSession, prepared: Prepared): Expected {
  if (prepared.kind === 'mark') return { rows: [[session.mark + prepared.suffix]] }
  if (prepared.kind === 'who') return { rows: [[schemaOf(session)]] }
  const { zones } = prepared
  const first = [...zones][0] ?? ''
  zones.add(zoneOf(session))
  return { check: (rows) => checkLiteral(session, rows, first, zones) }
}

/**
 * The instant of the literal is that of the zone at Parse, or of one in which the statement ran:
 * Postgres analyzes a statement again when something that it may depend on has changed.
 */
function checkLiteral(
  session: ChurnSession,
  rows: readonly Row[],
  first: string,
  zones: ReadonlySet<string>,
): string | undefined {
  const said = rows[0]?.[0]?.toString() ?? ''
  if (said === String(instantIn(first))) return undefined
  const own = [...zones].some((zone) => said === String(instantIn(zone)))
  if (!own) return `${said} is midnight in no zone of ${[...zones].join(' ')}`
  session.world.tally.literalsReadAgain += 1
  return undefined
}

/** Midnight in a zone of the churn, `MGTXh:mm` west of Greenwich, or in UTC. */
function instantIn(zone: string): number {
  const found = /^MGT[A-J]+(\d+):(\d+)$/.exec(zone)
  if (found === null) return MIDNIGHT
  const [hours = 0, minutes = 0] = found.slice(1).map(Number)
  return MIDNIGHT + hours * 3600 + minutes * 60
}

async function closeNamed(session: ChurnSession): Promise<void> {
  const name = session.random.pick(NAMES)
  const parts = [close({ statement: name }), sync()]
  const answer = await session.send(parts, { always: true }, `Close ${name}`)
  if (answer !== undefined) session.prepared.delete(name)
}

async function prepareUnnamed(session: ChurnSession): Promise<void> {
  const suffix = session.fresh()
  const parts = [parse(`select $1::text || '${suffix}'`), sync()]
  const answer = await session.send(parts, {}, 'Parse ""')
  if (answer !== undefined) session.unnamed = answer.error === undefined ? suffix : 'none'
}

async function failUnnamed(session: ChurnSession): Promise<void> {
  const answer = await session.send(
    [parse('selec 1'), sync()],
    { error: '42601', always: true },
    '',
  )
  if (answer !== undefined) session.unnamed = 'none'
}

async function executeUnnamed(session: ChurnSession): Promise<void> {
  const { unnamed, mark } = session
  if (unnamed === 'foreign') return
  const parts = [bind({ values: unnamed === 'none' ? [] : [mark] }), execute(), sync()]
  const expected = unnamed === 'none' ? { error: '26000' } : { rows: [[mark + unnamed]] }
  // Without a statement Postgres says so even in a failed transaction.
  await session.send(parts, { ...expected, always: unnamed === 'none' }, 'Bind ""')
}

async function sqlPrepare(session: ChurnSession): Promise<void> {
  const name = session.random.pick(SQL_NAMES)
  const suffix = session.fresh()
  const sql = `prepare ${name}(text) as select $1 || '${suffix}'`
  const expected = session.sqlPrepared.has(name) ? { error: '42P05' } : {}
  if ((await session.run(sql, expected)) !== undefined) session.sqlPrepared.set(name, suffix)
}

async function sqlExecute(session: ChurnSession): Promise<void> {
  const name = session.random.pick(SQL_NAMES)
  const suffix = session.sqlPrepared.get(name)
  const expected = suffix === undefined ? { error: '26000' } : { rows: [[session.mark + suffix]] }
  await session.run(`execute ${name}('${session.mark}')`, expected)
}

async function deallocate(session: ChurnSession): Promise<void> {
  const name = session.random.pick([...SQL_NAMES, ...NAMES])
  const there = session.sqlPrepared.has(name) || session.prepared.has(name)
  const answer = await session.run(`deallocate ${name}`, there ? {} : { error: '26000' })
  if (answer === undefined) return
  session.sqlPrepared.delete(name)
  session.prepared.delete(name)
}

async function deallocateAll(session: ChurnSession): Promise<void> {
  if ((await session.run('deallocate all')) === undefined) return
  session.sqlPrepared.clear()
  session.prepared.clear()
}

/** What sessions share may be there too, under names of the gateway's. */
async function listPrepared(session: ChurnSession): Promise<void> {
  const names = [...session.prepared.keys(), ...session.sqlPrepared.keys()].toSorted()
  const sql = `select string_agg(name, ',' order by name collate "C") from pg_prepared_statements
    where name <> '' and name not like 'mg:%'`
  await session.run(sql, { rows: [[names.length === 0 ? null : names.join(',')]] })
}

const notFailed = ({ status }: ChurnSession): boolean => status !== TransactionStatus.Failed

/** Moves with prepared statements. */
export const STATEMENT_MOVES: readonly Move[] = [
  { name: 'Parse', weight: 6, make: prepare },
  { name: 'Bind', weight: 12, make: executeNamed },
  { name: 'EXECUTE of a protocol statement', weight: 1, make: executeSql, when: notFailed },
  { name: 'Close', weight: 3, make: closeNamed },
  { name: 'Parse ""', weight: 4, make: prepareUnnamed },
  { name: 'failing Parse ""', weight: 1, make: failUnnamed },
  { name: 'Bind ""', weight: 4, make: executeUnnamed },
  { name: 'PREPARE', weight: 2, make: sqlPrepare },
  { name: 'EXECUTE', weight: 3, make: sqlExecute, when: notFailed },
  { name: 'DEALLOCATE', weight: 1, make: deallocate },
  { name: 'DEALLOCATE ALL', weight: 1, make: deallocateAll },
  { name: 'pg_prepared_statements', weight: 1, make: listPrepared },
]
