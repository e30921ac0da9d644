// Transfers between accounts, each with a row that tells of it, and audits of all in one snapshot.
import type { Random } from '../support/random.ts'
import type { Client } from './client.ts'
import type { Audit, Transfer } from './history.ts'

const ACCOUNTS = 8
const BALANCE = 1000

/** What all accounts hold together, always. */
export const BANK_TOTAL = ACCOUNTS * BALANCE

const BALANCES = `select sum(balance), max(abs(balance - ${BALANCE}
    - coalesce((select sum(amount) from transfers where target = account), 0)
    + coalesce((select sum(amount) from transfers where source = account), 0)))
  from accounts`

/** The tables. @throws Error when they cannot be made. */
export async function createBank(client: Client): Promise<void> {
  const { outcome, message } = await client.run(
    `create table accounts (account int primary key, balance bigint not null);
     create table transfers (id text primary key, source int, target int, amount bigint);
     insert into accounts select a, ${BALANCE} from generate_series(0, ${ACCOUNTS - 1}) a`,
  )
  if (outcome !== 'ok') throw new Error(message)
}

/** One transfer, in one message or in several. */
export async function transferOnce(client: Client, random: Random): Promise<Transfer> {
  const source = random.integer(ACCOUNTS)
  const target = (source + 1 + random.integer(ACCOUNTS - 1)) % ACCOUNTS
  const amount = 1 + random.integer(20)
  const id = `${client.name}-${performance.now()}`
  const statements = [
    'begin isolation level repeatable read',
    `update accounts set balance = balance - ${amount} where account = ${source}`,
    `insert into transfers values ('${id}', ${source}, ${target}, ${amount})`,
    `update accounts set balance = balance + ${amount} where account = ${target}`,
  ]
  const parts = random.chance(0.5) ? statements : [statements.join(';')]
  const invokedMs = performance.now()
  for (const text of parts) {
    const answer = await client.run(text)
    if (answer.outcome === 'ok') continue
    await client.drop()
    return { kind: 'transfer', id, outcome: 'failed', ...client.span({ ...answer, invokedMs }) }
  }
  const committed = await client.run('commit')
  if (committed.outcome !== 'ok') await client.drop()
  const outcome = committed.code === 'no session' ? 'failed' : committed.outcome
  return { kind: 'transfer', id, outcome, ...client.span({ ...committed, invokedMs }) }
}

/** All of it in one snapshot. */
export async function auditBank(client: Client): Promise<Audit | undefined> {
  const answer = await client.run(
    `begin isolation level repeatable read read only; ${BALANCES};
     select id from transfers; commit`,
  )
  if (answer.outcome !== 'ok') {
    await client.drop()
    return undefined
  }
  const [balances, ...rows] = answer.rows
  const transfers = new Set(rows.map(([id]) => id ?? ''))
  const [total, off] = (balances ?? []).map(Number)
  return {
    kind: 'audit',
    total: total ?? 0,
    off: off ?? 0,
    transfers,
    ...client.span(answer),
  }
}
