// Goal: a leader that dies in the middle of a long record leaves its beginning on its followers.
// That is nobody's data: the next leader is followed at once, nobody is made a copy, and nobody asks
// for ever for the rest of it.
// Method: real nodes. A message of 200 MB is written; once both followers have received a part of it
// everything of the leader is killed.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import postgres from 'postgres'
import { processesOf } from '../../pgctld/postgres/find-postmaster.ts'
import { commandLine, signalProcess } from '../../pgctld/postgres/process.ts'
import { resolveRunAs } from '../../pgctld/postgres/run-as.ts'
import { until } from '../support/until.ts'
import { type Node, startShard, type TestShard } from './shard.ts'

const TEST_MS = 120_000
const MESSAGE_BYTES = 200_000_000
/** More than a segment of WAL: the part ends in a later one than it begins in. */
const PART_BYTES = 20_000_000

let shard: TestShard
beforeAll(async () => {
  shard = await startShard({ poolers: 3 })
}, TEST_MS)
afterAll(async () => {
  await shard?.[Symbol.asyncDispose]()
}, TEST_MS)

const postgresOf = (node: Node) => processesOf(node.dataDir, resolveRunAs(undefined))

const copiesOf = ({ pooler }: Node) => pooler.log.split('"cloned"').length - 1

/** A session with its Postgres that asks at once, again and again. */
async function watch(node: Node) {
  const { postgres: pg } = await node.status()
  const db = postgres({
    path: `${pg?.socketDir}/.s.PGSQL.${pg?.port}`,
    user: 'postgres',
    database: 'postgres',
    max: 1,
    fetch_types: false,
  })
  /** Of what it has received it cannot replay so much. */
  const unreplayed = async (): Promise<number> => {
    const [row] = await db<[{ bytes: number }]>`SELECT
      coalesce(pg_last_wal_receive_lsn() - pg_last_wal_replay_lsn(), 0)::float8 AS bytes`
    return row.bytes
  }
  await unreplayed()
  return { unreplayed, [Symbol.asyncDispose]: () => db.end({ timeout: 1 }) }
}

test(
  'a record that was cut off makes nobody a copy',
  async () => {
    const before = await shard.leader(1n, TEST_MS)
    const old = shard.node(before.id)
    const others = shard.nodes.filter((node) => node !== old)
    await old.sql('CREATE TABLE written (row int PRIMARY KEY)')
    await old.sql('INSERT INTO written SELECT generate_series(1, 1000)')
    await shard.streaming(2)
    const copies = shard.nodes.map(copiesOf)
    const senders = postgresOf(old).filter(({ pid }) => commandLine(pid).includes('walsender'))
    await using one = await watch(others[0]!)
    await using other = await watch(others[1]!)
    const parts = () => Promise.all([one.unreplayed(), other.unreplayed()])
    const message = `SELECT pg_logical_emit_message(false, 'm', repeat('x', ${MESSAGE_BYTES}))`
    let over = false
    const ended = old.sql(message).then(
      () => (over = true),
      () => undefined,
    )
    while (!over && Math.min(...(await parts())) < PART_BYTES);
    for (const sender of senders) signalProcess(sender, 'SIGSTOP')
    for (const bytes of await parts()) expect(bytes).toBeGreaterThan(PART_BYTES)
    await Promise.all([old.pooler.stop('SIGKILL'), old.pgctld.stop('SIGKILL')])
    for (const process of postgresOf(old)) signalProcess(process, 'SIGKILL')
    await ended

    const term = before.position?.decision?.number?.coordinatorTerm ?? 0n
    const { id } = await shard.leader(term + 1n)
    const leader = shard.node(id)
    await shard.streaming(1)
    await leader.sql('INSERT INTO written VALUES (1001)')
    old.start()
    await shard.streaming(2, TEST_MS)
    const count = 'SELECT count(*)::int AS rows, max(row) AS newest FROM written'
    for (const node of shard.nodes) {
      await until(async () => (await node.sql(count))[0]?.['newest'] === 1001)
      expect(await node.sql(count)).toEqual([{ rows: 1001, newest: 1001 }])
      expect(node.pooler.log).not.toContain('no prefix of its leader')
    }
    expect(shard.nodes.map(copiesOf)).toEqual(copies)
    for (const { id: cut, pgctld } of shard.nodes) {
      expect(pgctld.log.includes('cut off the beginning of a record')).toBe(cut !== id)
    }
  },
  TEST_MS,
)
