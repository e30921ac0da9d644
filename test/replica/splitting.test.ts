// Goal: of a session that has asked for it, what surely reads goes to a follower that has what the
// session did before, and all else to the leader; what a follower does not do, the leader does.
// Method: poolers played by the test answer with their names.
import { describe, expect, test } from 'bun:test'
import { fromPgError } from '../../shared/pgwire/error-fields.ts'
import { PgError, type Condition } from '../../shared/errors/pg-error.ts'
import { Flag } from '../../shared/link/frame.ts'
import { bind, describe as describes, execute, parse, sync } from '../../shared/pgwire/frontend.ts'
import { query } from '../../shared/pgwire/frontend.ts'
import { dataRow, readyForQuery } from '../../shared/pgwire/backend.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { GatewayConfig } from '../../gateway/config.ts'
import type { FakeBatch, FakePooler, Standing } from '../gateway/fake-pooler.ts'
import { startFakeShard, type FakeShard } from '../gateway/fake-shard.ts'
import type { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'

const FOLLOWS: Standing = { role: 'follower', serving: false, notReadable: '', lsn: 1000n }
const READ = 'select a, count(*) from t where b = 1 group by a'

type Shard = FakeShard & { leader: FakePooler; follower: FakePooler }

async function startShard(settings: Partial<GatewayConfig> = {}): Promise<Shard> {
  const shard = await startFakeShard([{}, FOLLOWS], { failoverWindowMs: 2000, ...settings })
  const [leader, follower] = shard.poolers as [FakePooler, FakePooler]
  await until(() => shard.gateway.followers.count === 1)
  return { ...shard, leader, follower }
}

/** A client that reads from followers where it can. */
async function splitting(shard: Shard): Promise<Frontend> {
  const frontend = await shard.connect()
  await frontend.query("set multigres.reads = 'replica'")
  return frontend
}

async function whereIs(frontend: Frontend, text = READ): Promise<string> {
  return (await frontend.query(text)).join().replace(/^.*CommandComplete (\S+),.*$/, '$1')
}

const onFollower = (frontend: Frontend, { follower }: Shard) =>
  until(async () => (await whereIs(frontend)) === follower.id)

/** An error of the follower's, with its ReadyForQuery or without. */
function fails(follower: FakePooler, condition: Condition, ready = true) {
  return (batch: FakeBatch): void => {
    const error = fromPgError(new PgError(condition, 'the follower fails'))
    const bytes = Buffer.concat([error, readyForQuery(TransactionStatus.Idle)])
    const { connection } = follower
    const { Boundary, Ready, Error } = Flag
    const idle = TransactionStatus.Idle
    if (ready) {
      connection?.send(20, batch.stream, Boundary | Ready | Error, idle, 0, 1, bytes)
    } else {
      follower.send(batch, error, Boundary | Error)
      const rest = readyForQuery(TransactionStatus.Idle)
      connection?.send(20, batch.stream, Boundary | Ready, idle, 0, 1, rest)
    }
  }
}

describe('off', () => {
  test('by default: all is the leader’s', async () => {
    await using shard = await startShard()
    await using frontend = await shard.connect()
    expect(await whereIs(frontend)).toBe(shard.leader.id)
    expect(shard.follower.opens).toEqual([])
  })

  test('again, when it is set back, and on by default for users that are named', async () => {
    await using shard = await startShard({ splitReadsUsers: ['postgres'] })
    await using frontend = await shard.connect()
    await onFollower(frontend, shard)
    await frontend.query("set multigres.reads = 'leader'")
    expect(await whereIs(frontend)).toBe(shard.leader.id)
    await frontend.query('reset multigres.reads')
    await onFollower(frontend, shard)
    for (const text of ["set multigres.reads = 'nobody'", 'set local multigres.reads = leader']) {
      await frontend.query(text)
      expect(shard.leader.batches.at(-1)?.text).toContain('mg:!multigres.reads')
    }
  })
})

describe('on', () => {
  test.each([
    READ,
    'SELECT * FROM "Orders" o WHERE o.id IN (1, 2);',
    'with x as (select 1) select * from x',
    "select date_trunc('day', at), sum(n) filter (where n > 0) from t group by 1",
    'values (1), (2)',
  ])('a follower’s: %s', async (text) => {
    await using shard = await startShard()
    await using frontend = await splitting(shard)
    await onFollower(frontend, shard)
    expect(await whereIs(frontend, text)).toBe(shard.follower.id)
  })

  test.each([
    'select 1; select 2',
    'select * from t for update',
    'select a into b from t',
    'with x as (delete from t returning 1) select * from x',
    'select my_function(a) from t',
    'select public.lower(a), "lower"(a) from t',
    'select * from pg_stat_activity',
    'select * from "pg_locks"',
    'select U&"pg_l\\006fcks".* from t',
    'select pg_advisory_lock(1)',
    "select set_config('a.b', 'c', false)",
    "select nextval('s')",
    'select pg_is_in_recovery()',
    'select inet_server_addr()',
    'select current_setting($1)',
    'show work_mem',
    'explain select 1',
    'insert into t values (1)',
    "select 'unterminated",
  ])('the leader’s: %s', async (text) => {
    await using shard = await startShard()
    await using frontend = await splitting(shard)
    await onFollower(frontend, shard)
    const before = shard.follower.batches.length
    await frontend.query(text)
    expect(shard.follower.batches).toHaveLength(before)
  })

  test('a transaction is the leader’s from its beginning to its end', async () => {
    await using shard = await startShard()
    await using frontend = await splitting(shard)
    await onFollower(frontend, shard)
    shard.leader.script = (batch) => shard.leader.answer(batch, 'T')
    expect(await whereIs(frontend, 'begin read only')).toBe(shard.leader.id)
    expect(await whereIs(frontend)).toBe(shard.leader.id)
    shard.leader.script = (batch) => shard.leader.answer(batch)
    expect(await whereIs(frontend, 'commit')).toBe(shard.leader.id)
    await onFollower(frontend, shard)
  })

  test('what pins the session keeps all of it on the leader', async () => {
    await using shard = await startShard()
    await using frontend = await splitting(shard)
    await onFollower(frontend, shard)
    shard.leader.script = (batch) => shard.leader.answer(batch, 'I', 2)
    await frontend.query('create temp table x (a int)')
    for (let at = 0; at < 5; at++) expect(await whereIs(frontend)).toBe(shard.leader.id)
  })

  test('a statement is prepared by the leader, and run by a follower', async () => {
    await using shard = await startShard()
    await using frontend = await splitting(shard)
    await onFollower(frontend, shard)
    frontend.send(parse(READ, { name: 'one' }), describes({ statement: 'one' }), sync())
    expect((await frontend.untilReadyForQuery()).join()).toContain(shard.leader.id)
    await onFollower(frontend, shard)
    const run = [bind({ statement: 'one' }), execute(), sync()]
    frontend.send(...run)
    expect((await frontend.untilReadyForQuery()).join()).toContain(shard.follower.id)
    frontend.send(parse(READ), bind(), describes({ portal: '' }), execute(), sync())
    expect((await frontend.untilReadyForQuery()).join()).toContain(shard.follower.id)
    frontend.send(parse('select f(1)'), bind(), execute(), sync())
    expect((await frontend.untilReadyForQuery()).join()).toContain(shard.leader.id)
  })

  test('settings are the session’s on both', async () => {
    await using shard = await startShard()
    await using frontend = await splitting(shard)
    await onFollower(frontend, shard)
    shard.leader.script = (batch) => {
      if (batch.text.includes('set work_mem')) shard.leader.settings(batch, [['work_mem', '1MB']])
      shard.leader.answer(batch)
    }
    await frontend.query("set work_mem = '1MB'")
    await onFollower(frontend, shard)
    expect(shard.follower.opens.at(-1)?.['settings']).toEqual([['work_mem', '1MB']])
  })
})

test('what the session wrote is there before it reads from a follower again', async () => {
  await using shard = await startShard()
  await using frontend = await splitting(shard)
  await onFollower(frontend, shard)
  shard.leader.stand({ lsn: 2000n })
  await frontend.query('insert into t values (1)')
  const startMs = performance.now()
  await until(async () => {
    expect(await whereIs(frontend)).toBe(shard.leader.id)
    return performance.now() - startMs > 1500
  })
  shard.follower.stand({ lsn: 2000n })
  await onFollower(frontend, shard)
})

describe('what a follower does not do, the leader does', () => {
  test.each([true, false])('an error of its own, ready with it: %p', async (ready) => {
    await using shard = await startShard()
    await using frontend = await splitting(shard)
    await onFollower(frontend, shard)
    shard.follower.script = fails(shard.follower, 'serialization_failure', ready)
    expect(await whereIs(frontend)).toBe(shard.leader.id)
    expect(frontend.errors).toEqual([])
    shard.follower.script = (batch) => shard.follower.answer(batch)
    frontend.send(parse(READ), bind(), execute(), sync())
    await frontend.untilReadyForQuery()
    await onFollower(frontend, shard)
  })

  test('an error of it that is a cancel is the client’s', async () => {
    await using shard = await startShard()
    await using frontend = await splitting(shard)
    await onFollower(frontend, shard)
    shard.follower.script = fails(shard.follower, 'query_canceled')
    expect(await frontend.query(READ)).toContain('ErrorResponse ERROR 57014')
  })

  test('a refusal, a loss, a broken link', async () => {
    await using shard = await startShard()
    await using frontend = await splitting(shard)
    const { follower, leader } = shard
    for (const script of [
      (batch: FakeBatch) => follower.refuse(batch, 'pool_wait', '53300'),
      (batch: FakeBatch) => follower.lose(batch, true),
      () => follower.cut(),
    ]) {
      follower.script = (batch) => follower.answer(batch)
      await onFollower(frontend, shard)
      follower.script = script
      expect(await whereIs(frontend)).toBe(leader.id)
    }
    expect(frontend.errors).toEqual([])
  })

  test('but for one of which the client has rows', async () => {
    await using shard = await startShard()
    await using frontend = await splitting(shard)
    await onFollower(frontend, shard)
    const { follower } = shard
    follower.script = (batch) => {
      follower.send(batch, dataRow([Buffer.from('1')]), Flag.Boundary)
      fails(follower, 'serialization_failure')(batch)
    }
    expect(await frontend.query(READ)).toContain('ErrorResponse ERROR 40001')
  })

  test('a cancel while it fails is one', async () => {
    await using shard = await startShard()
    await using frontend = await splitting(shard)
    await onFollower(frontend, shard)
    const { follower } = shard
    let batch: FakeBatch | undefined
    follower.script = (one) => void (batch = one)
    frontend.send(query(READ))
    await until(() => batch !== undefined)
    await frontend.cancel()
    await until(() => follower.cancels.length === 1)
    fails(follower, 'serialization_failure')(batch as FakeBatch)
    expect(await frontend.untilReadyForQuery()).toContain('ErrorResponse ERROR 57014')
  })

  test('nor while there is no follower', async () => {
    await using shard = await startShard()
    await using frontend = await splitting(shard)
    await onFollower(frontend, shard)
    shard.follower.stand({ notReadable: 'it restarts' })
    await until(() => shard.gateway.followers.count === 0)
    expect(await whereIs(frontend)).toBe(shard.leader.id)
  })
})

test('a session that reads goes on when the leader is another', async () => {
  await using shard = await startShard()
  await using frontend = await splitting(shard)
  await onFollower(frontend, shard)
  const { leader, follower } = shard
  leader.stand({ role: 'follower', serving: false, notReadable: '', term: 2n })
  follower.stand({ role: 'leader', serving: true, notReadable: 'it leads', term: 2n })
  expect(await whereIs(frontend, 'insert into t values (1)')).toBe(follower.id)
  await until(async () => (await whereIs(frontend)) === leader.id)
})
