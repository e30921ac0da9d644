// Moves that begin, end and fail transactions, and plain reads.
import { bind, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { ChurnSession } from './churn-client.ts'
import { readAnswer, textOf } from './exchange.ts'
import type { Move } from './moves.ts'

const { Idle, InTransaction, Failed } = TransactionStatus
const PIPELINED = 6

async function begin(session: ChurnSession): Promise<void> {
  const sql = session.random.pick([
    'begin',
    'start transaction',
    'begin isolation level serializable',
  ])
  const answer = await session.run(sql)
  if (answer === undefined) return
  session.begin()
}

async function end(session: ChurnSession): Promise<void> {
  const failed = session.status === Failed
  const commit = session.random.chance(0.6)
  const tag = commit && !failed ? 'COMMIT' : 'ROLLBACK'
  const answer = await session.run(commit ? 'commit' : 'rollback', { tag, always: true })
  if (answer === undefined) return
  session.end(tag === 'COMMIT')
}

async function savepoint(session: ChurnSession): Promise<void> {
  if ((await session.run('savepoint churn')) !== undefined) session.savepoint()
}

async function rollbackTo(session: ChurnSession): Promise<void> {
  if ((await session.run('rollback to churn', { always: true })) !== undefined) session.rollbackTo()
}

async function release(session: ChurnSession): Promise<void> {
  if ((await session.run('release churn')) !== undefined) session.release()
}

async function fail(session: ChurnSession): Promise<void> {
  await session.run('select 1 / 0', { error: '22012' })
}

async function read(session: ChurnSession): Promise<void> {
  const text = session.fresh()
  await session.run(`select '${text}', repeat('${session.mark}', 50)`, {
    rows: [[text, session.mark.repeat(50)]],
  })
}

/** Several batches in one write; their answers come in order. */
async function pipeline(session: ChurnSession): Promise<void> {
  const texts = Array.from({ length: PIPELINED }, () => session.fresh())
  const batches = texts.map((text, at) =>
    at % 2 === 0
      ? [parse('select $1::text'), bind({ values: [text] }), execute(), sync()]
      : [query(`select '${text}'`)],
  )
  session.frontend.send(...batches.flat())
  session.unnamed = 'foreign'
  for (const text of texts) {
    const answer = await readAnswer(session.frontend, session.heard)
    session.world.tally.batches += 1
    if (answer.error?.code === '53300') session.world.tally.tooMany += 1
    else {
      const said = answer.rows.map((row) => textOf(row)[0]).join() || answer.error?.code
      if (said !== text) session.wrong(`pipeline: ${said}, not ${text}`)
    }
  }
}

const inTransaction = ({ status }: ChurnSession): boolean => status === InTransaction
const open = ({ status }: ChurnSession): boolean => status !== Idle

/** Moves of transactions. */
export const TRANSACTION_MOVES: readonly Move[] = [
  { name: 'BEGIN', weight: 8, make: begin, when: ({ status }) => status === Idle },
  { name: 'COMMIT or ROLLBACK', weight: 18, make: end, when: open },
  {
    name: 'SAVEPOINT',
    weight: 6,
    make: savepoint,
    when: (session) => inTransaction(session) && session.savepoints < 3,
  },
  {
    name: 'ROLLBACK TO',
    weight: 8,
    make: rollbackTo,
    when: (session) => open(session) && session.savepoints > 0,
  },
  {
    name: 'RELEASE',
    weight: 3,
    make: release,
    when: (session) => inTransaction(session) && session.savepoints > 0,
  },
  { name: 'error', weight: 3, make: fail },
  { name: 'read', weight: 12, make: read },
  { name: 'pipeline', weight: 4, make: pipeline, when: ({ status }) => status !== Failed },
]
