// Transactions at SERIALIZABLE that append to lists and read them, a statement at a time.
import type { Random } from '../support/random.ts'
import type { Client } from './client.ts'
import type { ListStep, ListTransaction, Outcome } from './history.ts'

const LISTS = 5
const STEPS_MAX = 4
/** Lists are begun anew after this many appends: reading them stays cheap. */
const LENGTH = 60

/** The table, empty. @throws Error when it cannot be made. */
export async function createLists(client: Client): Promise<void> {
  const { outcome, message } = await client.run(
    "create table lists (list int primary key, numbers int[] not null default '{}')",
  )
  if (outcome !== 'ok') throw new Error(message)
}

/** One transaction of a few steps; `names` gives each appended number once. */
export async function listTransaction(
  client: Client,
  random: Random,
  names: { next: number },
): Promise<ListTransaction> {
  const steps: ListStep[] = []
  const begun = await client.run('begin isolation level serializable')
  const { invokedMs } = begun
  const end = (outcome: Outcome, endedMs: number): ListTransaction => {
    return { kind: 'lists', steps, outcome, ...client.span({ invokedMs, endedMs }) }
  }
  if (begun.outcome !== 'ok') return end('failed', begun.endedMs)
  for (let left = 1 + random.integer(STEPS_MAX); left > 0; left -= 1) {
    const key = Math.floor(names.next / LENGTH / LISTS) * LISTS + random.integer(LISTS)
    const { answer, step } = await takeStep(client, key, random.chance(0.5) ? names : undefined)
    steps.push(step)
    if (answer.outcome === 'ok') continue
    // It was not committed, whatever became of the step; a session in a failed transaction goes on.
    await client.drop()
    return end('failed', answer.endedMs)
  }
  const committed = await client.run('commit')
  // A gateway that lost the backend before COMMIT left it has the session roll back first.
  if (committed.outcome !== 'ok') await client.drop()
  if (committed.code === 'no session') return end('failed', committed.endedMs)
  return end(committed.outcome, committed.endedMs)
}

async function takeStep(client: Client, key: number, names: { next: number } | undefined) {
  if (names === undefined) {
    const answer = await client.run(`select array_to_json(numbers) from lists where list = ${key}`)
    const values = answer.outcome === 'ok' ? parse(answer.rows[0]?.[0]) : undefined
    return { answer, step: { kind: 'read', key, values } as const }
  }
  const value = (names.next += 1)
  const answer = await client.run(
    `insert into lists values (${key}, array[${value}])
     on conflict (list) do update set numbers = lists.numbers || ${value}`,
  )
  return { answer, step: { kind: 'append', key, value } as const }
}

/** All lists, in one transaction. */
export async function readAllLists(client: Client): Promise<ListTransaction | undefined> {
  const answer = await client.run('select list, array_to_json(numbers) from lists')
  if (answer.outcome !== 'ok') return undefined
  const steps = answer.rows.map(([list, numbers]): ListStep => {
    return { kind: 'read', key: Number(list), values: parse(numbers) }
  })
  return { kind: 'lists', steps, outcome: 'ok', ...client.span(answer) }
}

const parse = (json: string | null | undefined): number[] =>
  json === null || json === undefined ? [] : (JSON.parse(json) as number[])
