// The logs: one table, one writer for each log, numbers that grow.
import type { Client } from './client.ts'
import type { GapMeter } from './gaps.ts'
import type { LogRead, LogWrite } from './history.ts'
import type { SiteNode } from './node.ts'

const WINDOW = 20

/** The table, empty. @throws Error when it cannot be made. */
export async function createLogs(client: Client, logs: number): Promise<void> {
  const { outcome, message } = await client.run(
    `create table logs (log int, n int, primary key (log, n));
     create table written_by (log int primary key);
     insert into written_by select generate_series(0, ${logs - 1})`,
  )
  if (outcome !== 'ok') throw new Error(message)
}

/** One write of the log's own writer, in a transaction of its own; of every other one prepared. */
export async function writeLog(
  client: Client,
  { key, value, meter }: { key: number; value: number; meter: GapMeter },
): Promise<LogWrite | undefined> {
  meter.sent(performance.now())
  const answer =
    key % 2 === 0
      ? await client.run(`insert into logs values (${key}, ${value})`)
      : await client.runPrepared('insert into logs values ($1, $2)', [`${key}`, `${value}`])
  if (answer.outcome === 'ok') meter.acknowledged(answer.endedMs)
  return { kind: 'write', key, value, outcome: answer.outcome, ...client.span(answer) }
}

/** The newest numbers of a log. */
export async function readLog(client: Client, key: number): Promise<LogRead | undefined> {
  const answer = await client.run(
    `select n from logs where log = ${key} order by n desc limit ${WINDOW}`,
  )
  if (answer.outcome !== 'ok') return undefined
  const values = answer.rows.map(([n]) => Number(n))
  return { kind: 'read', key, values, whole: values.length < WINDOW, ...client.span(answer) }
}

/** All that a node's own Postgres holds. */
export async function heldBy(node: SiteNode): Promise<Map<number, Set<number>>> {
  const rows = await node.sql('select log, json_agg(n) as numbers from logs group by log')
  return new Map(rows.map((row) => [Number(row['log']), new Set(row['numbers'] as number[])]))
}
