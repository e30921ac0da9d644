// Goal: the schema that a shard is born with and the rule store agree, and every write of a rule is
// a compare-and-set. Method: one real Postgres with that schema, our sessions over its socket.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { rule } from '../../shared/consensus/fixtures.ts'
import { INITIAL_NUMBER } from '../../shared/consensus/rule.ts'
import { decide, flushedLsn, propose, readStanding } from '../../pooler/term/rule-store.ts'
import { initSql } from '../../pooler/term/schema.ts'
import { SystemSession } from '../../pooler/term/system-session.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'
import { until } from '../support/until.ts'

const SHARD = '0-inf'
const NOTE = { event: 'promotion', reason: 'test', accepted: ['a_1', 'a_2'] } as const
const initial = {
  shard: SHARD,
  durability: 'at_least_2',
  leaseMs: 1000,
  postgresPassword: 'postgres',
  replicationPassword: "it's \\ a secret",
}

let server: TestPostgres
let session: SystemSession
let closed = 0
beforeAll(async () => {
  server = await startPostgres({ sql: initSql(initial) })
  const { socketDir, port } = server
  session = new SystemSession({ socketDir, port, onClose: () => void closed++ })
}, 60_000)
afterAll(async () => {
  await session[Symbol.asyncDispose]()
  await server.stop()
})

// Every test begins with the rule of a new shard.
beforeEach(async () => {
  const inserts = initSql(initial).filter((sql) =>
    /^INSERT INTO multigres\.(current_rule|rule_history)/i.test(sql),
  )
  expect(inserts.length).toBeGreaterThan(0)
  for (const table of ['current_rule', 'rule_history']) {
    await server.query(`DELETE FROM multigres.${table}`)
  }
  for (const insert of inserts) await server.query(insert)
})

const standing = async () => {
  const found = await readStanding(session, SHARD)
  if (found === undefined) throw new Error('no rule row')
  return found
}

describe('the rule store', () => {
  const first = rule('1.0', ['a_1', 'a_2', 'a_3'])
  const second = { ...rule('2.0', ['a_2', 'a_1', 'a_3']), createdUnixMs: 1_800_000_000_123n }

  const decideFirst = async () => {
    await propose(session, { shard: SHARD, expected: INITIAL_NUMBER, rule: first, note: NOTE })
    await decide(session, SHARD, first)
  }

  test('a new shard holds the rule {0,1}: a policy, no cohort, no leader', async () => {
    const { position, inRecovery } = await standing()
    expect(position.decision).toMatchObject({
      number: INITIAL_NUMBER,
      leaderId: '',
      cohort: [],
      durability: 'at_least_2',
      leaseMs: 1000,
    })
    expect(position.proposal).toBeUndefined()
    expect(inRecovery).toBe(false)
    expect(position.lsn).toBeGreaterThan(0n)
  })

  test('another shard has no row', async () => {
    expect(await readStanding(session, 'other')).toBeUndefined()
  })

  test('a proposal stands beside the decision until it is decided', async () => {
    const lsn = await propose(session, {
      shard: SHARD,
      expected: INITIAL_NUMBER,
      rule: first,
      note: NOTE,
    })
    const proposed = await standing()
    expect(proposed.position.proposal).toEqual(first)
    expect(proposed.position.decision.number).toEqual(INITIAL_NUMBER)
    expect(proposed.position.lsn).toBeGreaterThanOrEqual(lsn)
    await decide(session, SHARD, first)
    const decided = await standing()
    expect(decided.position.decision).toEqual(first)
    expect(decided.position.proposal).toBeUndefined()
    const history = await server.query(
      `SELECT coordinator_term, decided, accepted_members, wal_position IS NOT NULL
        FROM multigres.rule_history ORDER BY 1`,
    )
    expect(history.map(String)).toEqual(['0,true,,false', '1,true,a_1,a_2,true'])
  })

  test('a proposal on another decision is refused and leaves nothing', async () => {
    await decideFirst()
    const write = { shard: SHARD, expected: INITIAL_NUMBER, rule: second, note: NOTE }
    const error = await propose(session, write).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ condition: 'serialization_failure' })
    expect((await standing()).position.proposal).toBeUndefined()
  })

  test('a second proposal is refused while one is undecided', async () => {
    await decideFirst()
    await propose(session, { shard: SHARD, expected: first.number, rule: second, note: NOTE })
    const third = rule('3.0', ['a_1', 'a_2'])
    const write = { shard: SHARD, expected: first.number, rule: third, note: NOTE }
    expect(await propose(session, write).catch((reason: unknown) => reason)).toMatchObject({
      condition: 'serialization_failure',
    })
    expect(await decide(session, SHARD, third).catch((reason: unknown) => reason)).toMatchObject({
      condition: 'serialization_failure',
    })
    await decide(session, SHARD, second)
    expect((await standing()).position.decision).toEqual(second)
  })

  test('Postgres itself refuses half a proposal and one that is not newer', async () => {
    const half = 'UPDATE multigres.current_rule SET proposal_coordinator_term = 9'
    expect(await server.query(half).catch(String)).toContain('proposal_is_whole')
    await propose(session, { shard: SHARD, expected: INITIAL_NUMBER, rule: second, note: NOTE })
    await decide(session, SHARD, second)
    const write = { shard: SHARD, expected: second.number, rule: first, note: NOTE }
    expect(String(await propose(session, write).catch((e: Error) => e.cause))).toContain(
      'proposal_is_newer',
    )
  })

  test('its sessions come back after a loss and tell of it', async () => {
    await standing()
    const before = closed
    await server.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'multigres'",
    )
    await until(() => closed > before)
    expect(await flushedLsn(session)).toBeGreaterThan(0n)
  })
})
