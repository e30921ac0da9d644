// Moves with settings: set in every way, read back, undone in every way.
import { bind, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { ChurnSession } from './churn-client.ts'
import { ROLES, SCHEMAS } from './churn-setup.ts'
import type { Move } from './moves.ts'

const { Idle, InTransaction } = TransactionStatus
const CUSTOM = 'app.tenant'

const ownName = (session: ChurnSession): string => `app.s${session.id}`
/** Postgres prints what is no whole number of a larger unit as it was set. */
const odd = (n: number): number => (n % 2 === 0 ? n + 1 : n)

/** The session's number as letters, which is what a zone's name may have. */
const letters = (id: number): string =>
  `MGT${String(id).replace(/\d/g, (digit) => 'ABCDEFGHIJ'.charAt(Number(digit)))}`

/** A setting and a value of it that is this session's alone, where there are enough of them. */
function choose(session: ChurnSession): [name: string, value: string] {
  const { random, id } = session
  const zone = `${letters(id)}${random.integer(14)}:${10 + random.integer(50)}`
  const custom = [
    [CUSTOM, session.fresh()],
    [ownName(session), session.fresh()],
  ]
  return random.pick([
    ['work_mem', `${odd(1000 + id)}kB`],
    ['statement_timeout', `${odd(3_600_001 + id * 10)}ms`],
    ['lock_timeout', `${odd(7_200_001 + id * 10)}ms`],
    ['application_name', session.fresh()],
    ['TimeZone', zone],
    ['client_encoding', random.pick(['LATIN1', 'UTF8'])],
    ['search_path', `${random.pick(SCHEMAS)}, pg_catalog`],
    ...(session.usesCustomNames ? custom : []),
  ] as [string, string][])
}

const literal = (name: string, value: string): string =>
  name === 'search_path' ? value : `'${value}'`

async function follow(
  session: ChurnSession,
  sql: string,
  name: string,
  value: string,
  local: boolean,
): Promise<void> {
  const answer = await session.run(sql)
  if (answer === undefined) return
  session.settings.set(name, value, local)
}

async function set(session: ChurnSession): Promise<void> {
  const [name, value] = choose(session)
  await follow(session, `set ${name} = ${literal(name, value)}`, name, value, false)
}

async function setLocal(session: ChurnSession): Promise<void> {
  const [name, value] = choose(session)
  await follow(session, `set local ${name} = ${literal(name, value)}`, name, value, true)
}

async function setConfig(session: ChurnSession): Promise<void> {
  const [name, value] = choose(session)
  const local = session.random.chance(0.3)
  if (session.random.chance(0.5)) {
    await follow(session, `select set_config('${name}', '${value}', ${local})`, name, value, local)
    return
  }
  const parts = [
    parse('select pg_catalog.set_config($1, $2, $3)'),
    bind({ values: [name, value, String(local)] }),
    execute(),
    sync(),
  ]
  const answer = await session.send(parts, { rows: [[value]] }, `set_config ${name}`)
  session.unnamed = 'foreign'
  if (answer !== undefined && answer.error === undefined) session.settings.set(name, value, local)
}

async function reset(session: ChurnSession): Promise<void> {
  const [name] = choose(session)
  const answer = await session.run(session.random.pick([`reset ${name}`, `set ${name} to default`]))
  if (answer !== undefined) session.settings.reset(name)
}

async function resetAll(session: ChurnSession): Promise<void> {
  if ((await session.run('reset all')) !== undefined) session.settings.resetAll()
}

async function setRole(session: ChurnSession): Promise<void> {
  const role = session.random.pick([...ROLES, 'none'])
  const local = session.status === InTransaction && session.random.chance(0.3)
  const answer = await session.run(`set ${local ? 'local ' : ''}role ${role}`)
  if (answer !== undefined) session.settings.set('role', role, local)
}

async function setAuthorization(session: ChurnSession): Promise<void> {
  const user = session.random.pick(ROLES)
  const answer = await session.run(`set session authorization ${user}`)
  if (answer !== undefined) {
    session.settings.set('session_authorization', user)
    session.settings.set('role', 'none')
  }
  await readAll(session)
  if ((await session.run('reset session authorization')) === undefined) return
  session.settings.reset('session_authorization')
  session.settings.set('role', 'none')
}

/** Everything that this session set, and something of another session's. */
async function readAll(session: ChurnSession): Promise<void> {
  const { settings, random, id } = session
  const other = 1 + random.integer(id + 5)
  const names = [
    'work_mem',
    'statement_timeout',
    'lock_timeout',
    'search_path',
    'TimeZone',
    'client_encoding',
    'application_name',
    'role',
    CUSTOM,
    ownName(session),
  ]
  const columns = names.map((name) => `current_setting('${name}', true)`)
  const values = names.map((name) => settings.value(name))
  const role = settings.value('role')
  const user = settings.value('session_authorization')
  const others = other === id ? [] : [`current_setting('app.s${other}', true)`]
  const sql = `select ${[...columns, 'current_user', 'session_user', ...others].join(', ')}`
  const whole = [...values, role === 'none' ? user : role, user, ...others.map(() => null)]
  await session.run(sql, { rows: [whole] })
}

async function show(session: ChurnSession): Promise<void> {
  const [name] = choose(session)
  if (name.includes('.')) return
  await session.run(`show ${name}`, { rows: [[session.settings.value(name)]] })
}

async function who(session: ChurnSession): Promise<void> {
  await session.run('select name from who', { rows: [[schemaOf(session)]] })
}

/** The schema whose `who` the session sees. */
export function schemaOf(session: ChurnSession): string {
  const path = session.settings.value('search_path') ?? ''
  return SCHEMAS.find((name) => path.startsWith(`${name},`)) ?? 'public'
}

async function encoded(session: ChurnSession): Promise<void> {
  const bytes = Buffer.from('ä', session.encoding).toString('latin1')
  await session.run("select U&'\\00e4', length(U&'\\00e4')", { rows: [[bytes, '1']] })
}

async function setAndRead(session: ChurnSession): Promise<void> {
  const [name, value] = choose(session)
  const sql = `set ${name} = ${literal(name, value)}; select current_setting('${name}')`
  const answer = await session.run(sql, { rows: [[value]] })
  if (answer !== undefined) session.settings.set(name, value)
}

/** In one text that fails nothing of it stays, but that the custom name was heard of. */
async function setAndFail(session: ChurnSession): Promise<void> {
  const [name, value] = choose(session)
  const sql = `set ${name} = ${literal(name, value)}; select 1 / 0`
  const answer = await session.send(simple(sql), { error: '22012' }, sql)
  session.unnamed = answer === undefined ? 'foreign' : 'none'
  if (answer !== undefined && name.includes('.')) {
    session.settings.push()
    session.settings.set(name, value)
    session.settings.rollback()
  }
}

const simple = (sql: string): Buffer[] => [query(sql)]

/** Moves with settings. */
export const SETTINGS_MOVES: readonly Move[] = [
  { name: 'SET', weight: 8, make: set },
  { name: 'SET LOCAL', weight: 4, make: setLocal },
  { name: 'set_config', weight: 5, make: setConfig },
  { name: 'RESET', weight: 3, make: reset },
  { name: 'RESET ALL', weight: 1, make: resetAll },
  { name: 'SET ROLE', weight: 3, make: setRole, when: isLogin },
  {
    name: 'SET SESSION AUTHORIZATION',
    weight: 1,
    make: setAuthorization,
    when: (session) => session.status === Idle && session.superuser,
  },
  { name: 'read settings', weight: 10, make: readAll },
  { name: 'SHOW', weight: 4, make: show },
  { name: 'unqualified table', weight: 6, make: who },
  { name: 'encoded text', weight: 3, make: encoded },
  { name: 'SET and read in one text', weight: 2, make: setAndRead },
  {
    name: 'SET and fail in one text',
    weight: 2,
    make: setAndFail,
    when: (session) => session.status === Idle,
  },
]

function isLogin({ settings, world }: ChurnSession): boolean {
  const user = world.defaults.get('session_authorization')
  return settings.value('session_authorization') === user
}
