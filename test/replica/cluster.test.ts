// Goal: the replica port of a real cluster reads from followers that are fresh enough, and goes on
// while followers and leaders die.
// Method: three nodes; who answered is told by the port of its Postgres. Replay is paused, and
// processes are killed or stopped, by hand.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { clusterPaths } from '../../cli/local/cluster-dir.ts'
import type { PoolerView } from '../../cli/local/cluster-status.ts'
import { bind, cancelRequest, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { runPgbench, initPgbench, type PgbenchTool } from '../bench/pgbench.ts'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { debianTool } from '../support/debian.ts'
import { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { refusalOf } from './refusal.ts'

const pgbench = await debianTool('pgbench')
const skipped = 'skipped' in pgbench
if (skipped) console.error(`pgbench is not there: ${pgbench.skipped}`)

const LAG_MAX_MS = 3000
const TEST_MS = 60_000
const WHO = "select current_setting('port')"
const RECOVERED = { deadlineMs: 40_000 }
const RECOVERED_SOON = { deadlineMs: 20_000 }

let cluster: Cluster
beforeAll(async () => {
  cluster = await startCluster({
    poolers: 3,
    args: ['--replica-port=0'],
    set: ['gateway.failover_window=1s', 'gateway.replica_lag_max=30s'],
  })
  await untilReadable(2)
}, 120_000)
afterAll(() => cluster?.[Symbol.asyncDispose](), 60_000)

const address = (url: string | null) => ({
  host: '127.0.0.1',
  port: Number(new URL(url ?? '').port),
})
const reader = () => Frontend.connect(address(cluster.gateway.replica_url))
const writer = () => Frontend.connect(address(cluster.url))

/** Straight to one node, past the gateway: a plain session of its pooler. */
const plain = (pooler: PoolerView) =>
  Frontend.connect({ host: '127.0.0.1', port: pooler.data_port })

type Poolers = { leader: PoolerView; followers: PoolerView[] }
/** Who leads now, and who does not; waits for a leader. */
const poolers = (): Promise<Poolers> => until(whoLeads, RECOVERED)

async function whoLeads(): Promise<Poolers> {
  const [shard] = (await cluster.status()).shards
  const leader = shard?.poolers.find(({ role, serving }) => role === 'leader' && serving)
  if (shard === undefined || leader === undefined) throw new Error('nobody leads')
  return { leader, followers: shard.poolers.filter((pooler) => pooler !== leader) }
}

type View = { pooler: string; why: string }
async function followerViews(): Promise<View[]> {
  const response = await fetch(`${cluster.gateway.http}/debug/followers`)
  return (await response.json()) as View[]
}

/** Waits until exactly `count` followers may be read from. */
async function untilReadable(count: number, deadline = RECOVERED): Promise<void> {
  await until(async () => {
    const views = await followerViews()
    const readable = views.filter(({ why }) => why === '')
    if (readable.length !== count) throw new Error(JSON.stringify(views))
    return true
  }, deadline)
}

async function setLagMax(value: string): Promise<void> {
  const body = JSON.stringify({ replica_lag_max: value })
  const token = readFileSync(join(clusterPaths(cluster.dir).secrets, 'token'), 'utf8').trim()
  const headers = { authorization: `Bearer ${token}` }
  const response = await fetch(`${cluster.gateway.http}/config`, { method: 'POST', body, headers })
  if (!response.ok) throw new Error(await response.text())
}

const portOf = async (frontend: Frontend): Promise<number> => Number((await frontend.row(WHO))[0])

async function write(): Promise<void> {
  await using main = await writer()
  await main.query('create table if not exists t (a int)')
  expect(await main.query('insert into t values (1)')).toContain('CommandComplete INSERT 0 1')
}

async function closeAll(clients: readonly Frontend[]): Promise<void> {
  for (const client of clients) await client[Symbol.asyncDispose]()
}

describe('reads', () => {
  test('go to both followers alike', async () => {
    const { followers } = await poolers()
    const clients: Frontend[] = []
    for (let at = 0; at < 8; at++) clients.push(await reader())
    const ports = await Promise.all(clients.map(portOf))
    for (const { postgres } of followers) {
      expect(ports.filter((port) => port === postgres.port)).toHaveLength(4)
    }
    for (const client of clients) {
      expect(await client.row('select pg_is_in_recovery()')).toEqual(['t'])
      expect(await client.row('show transaction_read_only')).toEqual(['on'])
      expect(client.parameters.get('in_hot_standby')).toBe('on')
    }
    await closeAll(clients)
  })

  test('see what the main port wrote', async () => {
    await write()
    await using frontend = await reader()
    await until(async () => (await frontend.row('select count(*) > 0 from t'))[0] === 't')
  })

  test('may not write: 25006, in each protocol, and the session goes on', async () => {
    await using frontend = await reader()
    const refused = ['ErrorResponse ERROR 25006', 'ReadyForQuery idle']
    expect(await frontend.query('create table x ()')).toEqual(refused)
    frontend.send(parse('insert into t values (1)'), bind(), execute(), sync())
    expect((await frontend.untilReadyForQuery()).slice(-2)).toEqual(refused)
    expect(await frontend.query('begin read write')).toContain('ErrorResponse ERROR 0A000')
    expect(await frontend.query('begin; insert into t values (1)')).toContain(
      'ReadyForQuery failed',
    )
    await frontend.query('rollback')
    expect(await frontend.row('select 1')).toEqual(['1'])
  })

  test('keep prepared statements and settings over batches', async () => {
    await using frontend = await reader()
    frontend.send(parse('select $1::int + 1', { name: 'next' }), sync())
    await frontend.untilReadyForQuery()
    await frontend.query("set application_name = 'reads'")
    await frontend.query("set work_mem = '5MB'")
    for (let at = 0; at < 5; at++) {
      frontend.send(bind({ statement: 'next', values: [String(at)] }), execute(), sync())
      expect(await frontend.untilReadyForQuery()).toContain(`DataRow ${at + 1}`)
      expect(await frontend.row('show work_mem')).toEqual(['5MB'])
    }
    expect(frontend.parameters.get('application_name')).toBe('reads')
  })

  test('are cancelled by a request at either port', async () => {
    await using frontend = await reader()
    for (const url of [cluster.gateway.replica_url, cluster.url]) {
      frontend.send(query('select pg_sleep(30)'))
      let answered = false
      const answer = frontend.untilReadyForQuery().finally(() => (answered = true))
      await until(async () => {
        if (answered) return true
        await using canceler = await Frontend.open(address(url)) // too early for the first, maybe
        canceler.send(cancelRequest(frontend.processId, frontend.cancelKey))
        await canceler.untilClosed()
        return false
      })
      expect(await answer).toContain('ErrorResponse ERROR 57014')
    }
  })

  test('a wrong password is refused as on the main port', async () => {
    const login = Frontend.connect(address(cluster.gateway.replica_url), { password: 'wrong' })
    expect(await refusalOf(login)).toContain('28P01')
  })

  test.skipIf(skipped).each(['simple', 'extended', 'prepared'] as const)(
    'of 16 clients of pgbench in %s mode have no error',
    async (mode) => {
      if ('skipped' in pgbench) return
      const tool: PgbenchTool = { path: pgbench.path, env: pgbench.env, password: 'postgres' }
      const main = { key: 'ours', name: 'gateway', ...address(cluster.url), pids: [] } as const
      const replica = { ...main, ...address(cluster.gateway.replica_url) }
      if (mode === 'simple') await initPgbench(tool, main, 1)
      await using frontend = await reader()
      await until(
        async () => (await frontend.row('select count(*) from pgbench_accounts'))[0] === '100000',
      )
      const sample = await runPgbench(
        tool,
        replica,
        { flags: ['-b', 'select-only'], mode, clients: 16 },
        2,
      )
      expect(sample.rate).toBeGreaterThan(0)
      console.error(`replica port, pgbench -S -M ${mode} -c 16: ${Math.round(sample.rate)} tps`)
    },
    TEST_MS,
  )
})

describe('a follower', () => {
  test(
    'whose replay is paused is left out; both: 57P03 after the wait',
    async () => {
      const { followers } = await poolers()
      const [one, other] = followers as [PoolerView, PoolerView]
      await using first = await plain(one)
      await using second = await plain(other)
      const clients = [await reader(), await reader()]
      await setLagMax(`${LAG_MAX_MS}ms`)
      await first.query('select pg_wal_replay_pause()')
      // Behind an idle leader it is as fresh as the other, for as long as may be; a write ends that.
      await write()
      await untilReadable(1)
      for (const client of clients) expect(await portOf(client)).toBe(other.postgres.port)
      await second.query('select pg_wal_replay_pause()')
      await write()
      await untilReadable(0)
      const [client] = clients as [Frontend]
      const began = performance.now()
      expect(await client.query('select 1')).toEqual([
        'ErrorResponse ERROR 57P03',
        'ReadyForQuery idle',
      ])
      expect(performance.now() - began).toBeGreaterThan(900)
      expect(client.errors.at(-1)?.message).toContain('behind')
      expect(await refusalOf(reader())).toContain('57P03')
      await second.query('select pg_wal_replay_resume()')
      await untilReadable(1)
      expect(await portOf(client)).toBe(other.postgres.port)
      await first.query('select pg_wal_replay_resume()')
      await untilReadable(2)
      await setLagMax('30s')
      await closeAll(clients)
    },
    TEST_MS,
  )

  test(
    'that is killed ends what ran on it; sessions at rest go on at the other',
    async () => {
      const clients: Frontend[] = []
      for (let at = 0; at < 8; at++) clients.push(await reader())
      const ports = await Promise.all(clients.map(portOf))
      const { followers } = await poolers()
      const [lost, left] = followers as [PoolerView, PoolerView]
      const there = clients.filter((_, at) => ports[at] === lost.postgres.port)
      const [running, open, ...resting] = there as [Frontend, Frontend, ...Frontend[]]
      expect(there.length).toBeGreaterThan(2)
      running.send(query('select pg_sleep(60)'))
      for (const client of resting) {
        expect(await client.query("set app.tenant = 'one'")).toContain('CommandComplete SET')
        await client.query('set datestyle = German')
        client.send(parse('select $1::date', { name: 'day' }), sync())
        await client.untilReadyForQuery()
      }
      await open.query('begin; select 1')
      await using direct = await plain(lost)
      await until(
        async () =>
          (
            await direct.row(`select count(*) from pg_stat_activity
        where query = 'select pg_sleep(60)'`)
          )[0] === '1',
      )
      process.kill(lost.postgres.pid ?? 0, 'SIGKILL')
      // It may have been in the middle of nothing but a read: no outcome is unknown.
      expect(await running.untilClosed()).toEqual(['ErrorResponse FATAL 08006'])
      expect(await open.query('select 1')).toEqual([
        'ErrorResponse ERROR 40001',
        'ReadyForQuery failed',
      ])
      await open.query('rollback')
      expect(await portOf(open)).toBe(left.postgres.port)
      for (const client of resting) {
        expect(await portOf(client)).toBe(left.postgres.port)
        // What it set and prepared went with it.
        expect(await client.row("select current_setting('app.tenant')")).toEqual(['one'])
        client.send(bind({ statement: 'day', values: ['2026-11-21'] }), execute(), sync())
        expect(await client.untilReadyForQuery()).toContain('DataRow 21.11.2026')
      }
      await untilReadable(2)
      await closeAll(clients)
    },
    TEST_MS,
  )
})

/** Reads with `clients` one after another until told to stop; what went wrong. */
function readOn(clients: readonly Frontend[]) {
  let stopped = false
  let reads = 0
  const errors: string[] = []
  const one = async (client: Frontend): Promise<void> => {
    while (!stopped) {
      client.send(query('select count(*) from t'))
      const lines = await client.untilReadyForQuery().catch((error: unknown) => [String(error)])
      const failed = lines.find(
        (line) => !/^(RowDescription|DataRow|Command|Ready|Param)/.test(line),
      )
      if (failed !== undefined) errors.push(`${failed} ${client.errors.at(-1)?.message ?? ''}`)
      if (!lines.at(-1)?.startsWith('ReadyForQuery')) return
      reads++
    }
  }
  const running = Promise.all(clients.map(one))
  const stop = async () => {
    stopped = true
    await running
    return errors
  }
  return { stop, reads: () => reads, errors }
}

/** Waits, in transaction after transaction, for its standby to become a primary, and writes. */
const WRITES_ONCE_IT_CAN = `do $$ begin
  while pg_is_in_recovery() loop commit; perform pg_sleep(0.001); end loop;
  commit; insert into t values (42);
end $$`

/** Its pooler and pgctld fall silent, its Postgres dies: the supervisor starts nothing again. */
function silence(node: PoolerView): () => void {
  const stopped = [node.pid, node.pgctld_pid].map(Number)
  for (const pid of stopped) process.kill(pid, 'SIGSTOP')
  process.kill(node.postgres.pid ?? 0, 'SIGKILL')
  return () => {
    for (const pid of stopped) process.kill(pid, 'SIGCONT')
  }
}

describe('a leader', () => {
  test(
    'whose Postgres is killed stops nobody: reads and logins go on',
    async () => {
      await write()
      const { leader, followers } = await poolers()
      const clients = [await reader(), await reader(), await reader(), await reader()]
      await Promise.all(clients.map(portOf))
      const reading = readOn(clients)
      process.kill(leader.postgres.pid ?? 0, 'SIGKILL')
      await using another = await reader()
      const places = followers.map(({ postgres }) => postgres.port)
      expect(places).toContain(await portOf(another))
      await until(async () => {
        const found = await whoLeads()
        return found.leader.postgres.pid !== leader.postgres.pid
      }, RECOVERED_SOON)
      await write()
      expect(await reading.stop()).toEqual([])
      await untilReadable(2)
      await closeAll(clients)
    },
    TEST_MS,
  )

  test(
    'that was a follower takes no reads; its sessions go on at one that follows it',
    async () => {
      await write()
      const { leader, followers } = await poolers()
      const clients = [await reader(), await reader(), await reader(), await reader()]
      const ports = await Promise.all(clients.map(portOf))
      for (const client of clients) await client.query('begin; select 1')
      const looks = await Promise.all(followers.map(plain))
      const lurkers = [await reader(), await reader()]
      const lurking = await Promise.all(lurkers.map(portOf))
      expect(new Set(lurking)).toEqual(new Set(followers.map(({ postgres }) => postgres.port)))
      for (const lurker of lurkers) lurker.send(query(WRITES_ONCE_IT_CAN))
      const back = silence(leader)
      try {
        const found = await poolers()
        expect(followers.map(({ id }) => id)).toContain(found.leader.id)
        const promoted = found.leader.postgres.port
        expect(ports).toContain(promoted)
        await untilReadable(1)
        for (const [at, client] of clients.entries()) {
          const ended = ports[at] === promoted ? 'ErrorResponse ERROR 40001' : 'CommandComplete'
          expect((await client.query('commit'))[0]).toStartWith(ended)
          expect(await portOf(client)).not.toBe(promoted)
          expect(await client.row('select pg_is_in_recovery()')).toEqual(['t'])
        }
        // Who came past the gateway could have gone on as a writer.
        const look = looks[followers.findIndex(({ id }) => id === found.leader.id)]
        expect(await look?.untilClosed()).toContain('ErrorResponse FATAL 57P01')
        await closeAll(looks)
        const lurker = lurkers[lurking.indexOf(promoted)]
        expect(await lurker?.untilClosed()).toEqual(['ErrorResponse FATAL 08006'])
        await using main = await writer()
        expect(await main.row('select count(*) from t where a = 42')).toEqual(['0'])
        await closeAll(lurkers)
      } finally {
        back()
      }
      await untilReadable(2)
      await closeAll(clients)
    },
    TEST_MS,
  )
})

test(
  'with two nodes of three lost reads go on up to the lag bound, and again when one is back',
  async () => {
    const { leader, followers } = await poolers()
    const [lost, left] = followers as [PoolerView, PoolerView]
    await setLagMax('6s')
    const clients = [await reader(), await reader()]
    const back = [silence(leader), silence(lost)]
    try {
      await untilReadable(1) // what is silent is known to be
      for (const client of clients) expect(await portOf(client)).toBe(left.postgres.port)
      await using late = await reader()
      expect(await portOf(late)).toBe(left.postgres.port)
      await untilReadable(0)
      expect(await late.query('select 1')).toContain('ErrorResponse ERROR 57P03')
      expect(await refusalOf(writer())).toContain('57P03')
      back.pop()?.()
      await untilReadable(1)
      expect(await late.row('select pg_is_in_recovery()')).toEqual(['t'])
    } finally {
      for (const resume of back) resume()
    }
    await untilReadable(2)
    await setLagMax('30s')
    await closeAll(clients)
  },
  2 * TEST_MS,
)
