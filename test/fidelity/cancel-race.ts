// Goal: a cancel hits the session that it names, or nobody.
// Method: some clients run short statements and cancel each of them, a moment too early, in time or
// too late; others share the backends and cancel nothing. Whoever of these hears 57014 was hit by
// somebody else's cancel.
import { query } from '../../shared/pgwire/frontend.ts'
import { Frontend, type Address } from '../support/frontend.ts'
import { Random } from '../support/random.ts'
import { exchange, textOf } from './exchange.ts'

/** How many clients do what, and how often. */
export interface CancelRaceOptions {
  readonly address: Address
  readonly cancels: number
  readonly cancelers: number
  readonly bystanders: number
  readonly seed: number
}

/** What came of it. */
export interface CancelRaceResult {
  /** Cancels that ended a statement of their session. */
  hits: number
  /** Statements of those who cancel nothing. */
  innocent: number
  /** What such a statement said other than its answer. */
  readonly wrong: string[]
}

const CANCELED = '57014'
/** Turns of the event loop between a statement and its cancel, at most. */
const TURNS_MAX = 40
const STATEMENTS = [
  'select pg_sleep(0.001)',
  'select count(*) from generate_series(1, 5000)',
  'select 1',
  'begin; select pg_sleep(0.0005); commit',
]

/** Runs it until the cancels are used up. */
export async function runCancelRace(options: CancelRaceOptions): Promise<CancelRaceResult> {
  const { address, cancelers, bystanders, seed } = options
  const result: CancelRaceResult = { hits: 0, innocent: 0, wrong: [] }
  let left = options.cancels
  const take = (): boolean => left-- > 0
  const innocents = Array.from({ length: bystanders }, (_, i) =>
    innocent(address, i, () => left > 0, result),
  )
  const guilty = Array.from({ length: cancelers }, (_, i) =>
    guiltyOf(address, new Random(seed * 31 + i), take, result),
  )
  await Promise.all([...innocents, ...guilty])
  return result
}

async function guiltyOf(
  address: Address,
  random: Random,
  take: () => boolean,
  result: CancelRaceResult,
): Promise<void> {
  await using frontend = await Frontend.connect(address)
  while (take()) {
    const turns = random.integer(TURNS_MAX)
    const answering = exchange(frontend, [query(random.pick(STATEMENTS))], [])
    const canceling = turnsLater(turns).then(() => frontend.cancel())
    const [answer] = await Promise.all([answering, random.chance(0.5) ? canceling : undefined])
    if (answer.error?.code === CANCELED) result.hits += 1
    else if (answer.error !== undefined) result.wrong.push(answer.error.message)
    if (answer.status !== 0x49) await exchange(frontend, [query('rollback')], [])
    await canceling
  }
}

async function innocent(
  address: Address,
  id: number,
  goesOn: () => boolean,
  result: CancelRaceResult,
): Promise<void> {
  await using frontend = await Frontend.connect(address)
  for (let i = 0; goesOn(); i += 1) {
    const mark = `innocent ${id} ${i}`
    const sql = i % 2 === 0 ? `select '${mark}', pg_sleep(0.001)` : `select '${mark}'`
    const { rows, error } = await exchange(frontend, [query(sql)], [])
    const said = rows[0] === undefined ? error?.message : textOf(rows[0])[0]
    if (said !== mark) result.wrong.push(`${mark}: ${said}`)
    result.innocent += 1
  }
}

async function turnsLater(turns: number): Promise<void> {
  for (let i = 0; i < turns; i += 1) await new Promise((resolve) => setImmediate(resolve))
}
