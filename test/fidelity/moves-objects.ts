// Moves with what a backend holds for a session beside settings and statements.
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { ChurnSession } from './churn-client.ts'
import { NUMBERS_PER_SEED, SEEDS } from './churn-setup.ts'
import { textOf } from './exchange.ts'
import type { Move } from './moves.ts'

const CURSOR_ROWS = 30
const FETCH = 4
/** Advisory keys that the sessions fight for. */
const SHARED_KEYS = 5
const OWN_KEYS_FROM = 1_000_000

const idle = ({ status }: ChurnSession): boolean => status === TransactionStatus.Idle

async function createTemp(session: ChurnSession): Promise<void> {
  const body = session.fresh()
  const sql = `create temp table churn_temp as select '${body}'::text as body`
  const grant = 'grant all on pg_temp.churn_temp to public'
  const there = session.objects.temp !== undefined
  const answer = await session.run(`${sql}; ${grant}`, there ? { error: '42P07' } : {})
  if (answer !== undefined) session.objects.temp = body
}

async function readTemp(session: ChurnSession): Promise<void> {
  const { temp } = session.objects
  const sql = 'select body from churn_temp'
  await session.run(sql, temp === undefined ? { error: '42P01' } : { rows: [[temp]] })
}

async function dropTemp(session: ChurnSession): Promise<void> {
  if ((await session.run('discard temp')) !== undefined) session.objects.temp = undefined
}

async function declareCursor(session: ChurnSession): Promise<void> {
  const { mark } = session
  const sql = `declare churn_cursor cursor with hold for
    select '${mark}' || n from generate_series(1, ${CURSOR_ROWS}) n`
  const there = session.cursor !== undefined
  if ((await session.run(sql, there ? { error: '42P03' } : {})) === undefined) return
  session.cursor = { next: 1 }
}

async function fetchCursor(session: ChurnSession): Promise<void> {
  const { cursor, mark } = session
  const sql = `fetch ${FETCH} from churn_cursor`
  if (cursor === undefined) {
    await session.run(sql, { error: '34000' })
    return
  }
  const count = Math.max(0, Math.min(FETCH, CURSOR_ROWS + 1 - cursor.next))
  const rows = Array.from({ length: count }, (_, at) => [`${mark}${cursor.next + at}`])
  if ((await session.run(sql, { rows })) !== undefined) cursor.next += count
}

async function closeCursor(session: ChurnSession): Promise<void> {
  const there = session.cursor !== undefined
  const answer = await session.run('close churn_cursor', there ? {} : { error: '34000' })
  if (answer !== undefined) session.cursor = undefined
}

async function lockOwn(session: ChurnSession): Promise<void> {
  const sql = `select pg_advisory_lock(${OWN_KEYS_FROM + session.id})`
  if ((await session.run(sql)) !== undefined) session.ownLocks += 1
}

async function unlockOwn(session: ChurnSession): Promise<void> {
  const sql = `select pg_advisory_unlock(${OWN_KEYS_FROM + session.id})`
  const rows = [[session.ownLocks > 0 ? 't' : 'f']]
  if ((await session.run(sql, { rows })) === undefined) return
  session.ownLocks = Math.max(0, session.ownLocks - 1)
}

/** No two sessions hold one lock. */
async function tryShared(session: ChurnSession): Promise<void> {
  const key = 1 + session.random.integer(SHARED_KEYS)
  const answer = await session.run(`select pg_try_advisory_lock(${key})`)
  if (answer === undefined || answer.rows[0]?.[0]?.toString() !== 't') return
  const { lockHolders } = session.world
  const holder = lockHolders.get(key)
  if (holder !== undefined && holder !== session.id) {
    session.wrong(`took lock ${key}, which session ${holder} holds`)
  }
  lockHolders.set(key, session.id)
  session.sharedLocks.set(key, (session.sharedLocks.get(key) ?? 0) + 1)
}

async function unlockAll(session: ChurnSession): Promise<void> {
  const { ownLocks } = session
  const shared = [...session.sharedLocks]
  session.releaseLocks()
  if ((await session.run('select pg_advisory_unlock_all()')) !== undefined) return
  session.ownLocks = ownLocks
  for (const [key, count] of shared) {
    session.sharedLocks.set(key, count)
    session.world.lockHolders.set(key, session.id)
  }
}

async function countLocks(session: ChurnSession): Promise<void> {
  const sql = `select count(*) from pg_locks
    where locktype = 'advisory' and pid = pg_backend_pid()`
  const count = session.sharedLocks.size + (session.ownLocks > 0 ? 1 : 0)
  await session.run(sql, { rows: [[String(count)]] })
}

async function nextval(session: ChurnSession): Promise<void> {
  const answer = await session.run("select nextval('public.churn_seq')")
  const value = answer?.rows[0]?.[0]?.toString()
  if (value === undefined) return
  if (session.world.drawn.has(value)) session.wrong(`drew ${value} again`)
  session.world.drawn.add(value)
  session.currval = value
}

async function currval(session: ChurnSession): Promise<void> {
  const sql = session.random.pick(["select currval('public.churn_seq')", 'select lastval()'])
  const { currval: value } = session
  await session.run(sql, value === undefined ? { error: '55000' } : { rows: [[value]] })
}

async function setseed(session: ChurnSession): Promise<void> {
  const name = session.random.pick(SEEDS)
  if ((await session.run(`select setseed(${name})`)) !== undefined) session.seed = { name, used: 0 }
}

async function random(session: ChurnSession): Promise<void> {
  const { seed, world } = session
  const known = seed === undefined ? undefined : world.seeds.get(seed.name)?.[seed.used]
  if (known !== undefined) {
    const answer = await session.run('select random()::text', { rows: [[known]] })
    if (answer !== undefined && seed !== undefined) seed.used += 1
    return
  }
  if (seed !== undefined && seed.used >= NUMBERS_PER_SEED) return
  const foreign = [...world.seeds.values()].flat()
  await session.run('select random()::text', {
    check: ([row]) => {
      const [value] = row === undefined ? [] : textOf(row)
      return foreign.includes(value ?? '') ? `${value} is of another session's seed` : undefined
    },
  })
}

async function discardAll(session: ChurnSession): Promise<void> {
  await checkHeard(session)
  const before = session.listening
  session.stopListening()
  const locks = [...session.sharedLocks]
  for (const [key] of locks) session.world.lockHolders.delete(key)
  if ((await session.run('discard all', { tag: 'DISCARD ALL' })) !== undefined) session.discardAll()
  else {
    if (before) startListening(session)
    for (const [key] of locks) session.world.lockHolders.set(key, session.id)
  }
}

function startListening(session: ChurnSession): void {
  session.listening = true
  session.world.listeners.set(session.id, { session: session.id, sent: [] })
}

async function listen(session: ChurnSession): Promise<void> {
  if ((await session.run(`listen ch_${session.id}`)) === undefined || session.listening) return
  startListening(session)
}

async function unlisten(session: ChurnSession): Promise<void> {
  await checkHeard(session)
  const before = session.listening
  session.stopListening()
  const sql = session.random.pick([`unlisten ch_${session.id}`, 'unlisten *'])
  if ((await session.run(sql)) === undefined && before) startListening(session)
}

async function notify(session: ChurnSession): Promise<void> {
  const listeners = [...session.world.listeners.values()]
  if (listeners.length === 0) return
  const to = session.random.pick(listeners)
  const payload = `to mk${to.session}x ${session.id}/${session.heard.length}/${to.sent.length}`
  if ((await session.run(`select pg_notify('ch_${to.session}', '${payload}')`)) === undefined)
    return
  to.sent.push(payload)
}

async function notifyInVain(session: ChurnSession): Promise<void> {
  const sql = `begin; select pg_notify('ch_${session.id}', 'to ${session.mark} never'); rollback`
  await session.run(sql)
}

/** What was committed for it before its own notification has come before that one. */
export async function checkHeard(session: ChurnSession): Promise<void> {
  const listener = session.world.listeners.get(session.id)
  if (listener === undefined || !idle(session)) return
  const wanted = [...listener.sent]
  const flush = `to ${session.mark} flush ${session.heard.length}`
  if ((await session.run(`notify ch_${session.id}, '${flush}'`)) === undefined) return
  const payloads = session.heard.map(({ payload }) => payload)
  if (!payloads.includes(flush)) session.wrong(`${flush} has not come`)
  for (const payload of wanted) {
    const times = payloads.filter((each) => each === payload).length
    if (times !== 1) session.wrong(`${payload} came ${times} times`)
  }
}

/** Moves with objects of a session. */
export const OBJECT_MOVES: readonly Move[] = [
  { name: 'CREATE TEMP TABLE', weight: 2, make: createTemp },
  { name: 'read temp table', weight: 4, make: readTemp },
  { name: 'DISCARD TEMP', weight: 1, make: dropTemp, when: idle },
  { name: 'DECLARE WITH HOLD', weight: 2, make: declareCursor, when: idle },
  { name: 'FETCH', weight: 4, make: fetchCursor },
  { name: 'CLOSE', weight: 1, make: closeCursor, when: idle },
  { name: 'advisory lock', weight: 1, make: lockOwn },
  { name: 'advisory unlock', weight: 2, make: unlockOwn },
  { name: 'shared advisory lock', weight: 2, make: tryShared },
  { name: 'advisory unlock all', weight: 2, make: unlockAll },
  { name: 'count locks', weight: 2, make: countLocks },
  { name: 'nextval', weight: 2, make: nextval },
  { name: 'currval', weight: 3, make: currval },
  { name: 'setseed', weight: 1, make: setseed },
  { name: 'random', weight: 2, make: random },
  { name: 'DISCARD ALL', weight: 2, make: discardAll, when: idle },
  { name: 'LISTEN', weight: 2, make: listen, when: idle },
  { name: 'UNLISTEN', weight: 1, make: unlisten, when: idle },
  { name: 'NOTIFY', weight: 6, make: notify, when: idle },
  { name: 'NOTIFY rolled back', weight: 1, make: notifyInVain, when: idle },
]
