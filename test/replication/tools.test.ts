// Goal: PostgreSQL's own tools replicate through the gateway as they do straight.
// Method: a real server of the system's version with wal_level = logical behind pooler and gateway;
// pg_basebackup, pg_receivewal, pg_recvlogical, psql, and a subscription of a second server, each
// checked by what it has made of the data.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { chmodSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startHarness, type Harness } from '../gateway/harness.ts'
import { debianTool } from '../support/debian.ts'
import { startPostgres, testRunAs } from '../support/postgres.ts'
import { until } from '../support/until.ts'

const PASSWORD = 'over there'
let harness: Harness
let dir: string

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'mg-tools-'))
  chmodSync(dir, 0o755)
  harness = await startHarness({
    postgres: {
      major: 'system',
      settings: { wal_level: 'logical', max_wal_senders: 10, max_replication_slots: 10 },
      sql: [
        `create role copier replication login password '${PASSWORD}'`,
        'grant pg_read_all_data to copier',
        'create table numbers (n int primary key, text text)',
        'insert into numbers select n, repeat(md5(n::text), 20) from generate_series(1, 20000) n',
      ],
    },
  })
}, 60_000)

afterAll(async () => {
  await harness[Symbol.asyncDispose]()
  rmSync(dir, { recursive: true, force: true })
})

const conninfo = (more: string) =>
  `host=127.0.0.1 port=${harness.gateway.port} user=copier password='${PASSWORD}' ${more}`

/** Starts a tool of the system's Postgres. */
async function start(name: string, args: readonly string[]) {
  const tool = await debianTool(name)
  if ('skipped' in tool) throw new Error(tool.skipped)
  const env = { ...process.env, ...tool.env, LC_ALL: 'C' }
  const child = Bun.spawn([tool.path, ...args], { env, stdout: 'pipe', stderr: 'pipe' })
  const out = new Response(child.stdout).text()
  const errors = new Response(child.stderr).text()
  const end = async () => {
    await child.exited
    return { exitCode: child.exitCode, out: await out, errors: await errors }
  }
  return { child, end, [Symbol.dispose]: () => child.kill() }
}

/** Runs one to its end, which must be good. Its output. */
async function run(name: string, args: readonly string[]): Promise<string> {
  using tool = await start(name, args)
  const { exitCode, out, errors } = await tool.end()
  if (exitCode !== 0) throw new Error(`${name} ended with ${exitCode}: ${errors}${out}`)
  return out
}

/** A row of the server behind the gateway, asked straight. */
const straight = async (sql: string) => (await harness.pooler.postgres.query(sql))[0]

/** How many walsenders stream. */
const walsenders = async () =>
  (await straight("select count(*)::int from pg_stat_replication where state = 'streaming'"))?.[0]

/** All walsenders of clients have gone. */
const noWalsenders = () =>
  until(async () => (await straight('select count(*)::int from pg_stat_replication'))?.[0] === 0)

test('psql with replication=database', async () => {
  const text = await run('psql', [
    '-X',
    '-At',
    conninfo('dbname=postgres replication=database'),
    '-c',
    'IDENTIFY_SYSTEM',
    '-c',
    'select count(*) from numbers',
  ])
  expect(text).toMatch(/^\d+\|1\|[0-9A-F]+\/[0-9A-F]+\|postgres\n20000\n$/)
})

test('pg_basebackup with its WAL streamed beside it makes a server that starts', async () => {
  const to = join(dir, 'backup')
  await run('pg_basebackup', ['-d', conninfo(''), '-D', to, '-X', 'stream', '-c', 'fast'])
  expect(existsSync(join(to, 'backup_manifest'))).toBe(true)
  await run('pg_verifybackup', ['--no-parse-wal', to])
  const { drop, uid, gid } = testRunAs()
  if (drop) await Bun.spawn(['chown', '-R', `${uid}:${gid}`, to]).exited
  await using copy = await startPostgres({ major: 'system', dataDir: to })
  const sql = 'select count(*)::int, sum(length(text))::int from numbers'
  expect((await copy.query(sql))[0]).toEqual(await straight(sql))
  await noWalsenders()
}, 60_000)

test('pg_receivewal writes segments that are the server’s own, and goes on by its slot', async () => {
  const to = mkdtempSync(join(dir, 'wal-'))
  const args = ['-d', conninfo(''), '-D', to, '--slot', 'received']
  await run('pg_receivewal', [...args, '--create-slot'])
  const receive = async () => {
    using tool = await start('pg_receivewal', args)
    await until(walsenders)
    const { postgres } = harness.pooler
    // Before its name is asked for: on a boundary it would be the name of the one before.
    await postgres.query('insert into numbers select -max(n) from numbers')
    const segment = (await straight('select pg_walfile_name(pg_current_wal_lsn())'))?.[0]
    await postgres.query('delete from numbers where n < 0; select pg_switch_wal()')
    await until(() => existsSync(join(to, String(segment))), 20_000)
    tool.child.kill('SIGINT')
    expect((await tool.end()).exitCode).toBe(0)
    await noWalsenders()
    return String(segment)
  }
  for (const segment of [await receive(), await receive()]) {
    const own = readFileSync(join(harness.pooler.postgres.dataDir, 'pg_wal', segment))
    expect(Bun.hash(readFileSync(join(to, segment)))).toBe(Bun.hash(own))
  }
  expect(readdirSync(to).length).toBeGreaterThanOrEqual(2)
  await run('pg_receivewal', [...args, '--drop-slot'])
  await noWalsenders()
}, 60_000)

test('pg_recvlogical prints what was changed', async () => {
  const to = join(dir, 'changes')
  const args = ['-d', conninfo('dbname=postgres'), '--slot', 'logical']
  await run('pg_recvlogical', [...args, '--create-slot', '-P', 'test_decoding'])
  using tool = await start('pg_recvlogical', [...args, '--start', '-f', to, '-F', '1'])
  await harness.pooler.postgres.query("insert into numbers values (-1, 'seen')")
  const text = () => (existsSync(to) ? readFileSync(to, 'utf8') : '')
  await until(() => text().includes('COMMIT'), 20_000)
  expect(text()).toContain("INSERT: n[integer]:-1 text[text]:'seen'")
  tool.child.kill('SIGINT')
  expect((await tool.end()).exitCode).toBe(0)
  await run('pg_recvlogical', [...args, '--drop-slot'])
  await harness.pooler.postgres.query('delete from numbers where n = -1')
  await noWalsenders()
}, 60_000)

test('a subscription of another server copies the table and follows it', async () => {
  const { postgres } = harness.pooler
  await postgres.query('create publication numbers for table numbers')
  await using subscriber = await startPostgres({
    sql: ['create table numbers (n int primary key, text text)'],
  })
  const from = conninfo('dbname=postgres').replaceAll("'", "''")
  await subscriber.query(`create subscription numbers connection '${from}' publication numbers`)
  const sql = 'select count(*)::int, sum(n)::int, sum(length(text))::int from numbers'
  const same = async () => {
    const [there, here] = [(await subscriber.query(sql))[0], await straight(sql)]
    return Bun.deepEquals(there, here)
  }
  await until(same, 30_000)
  await postgres.query(`
      insert into numbers select n, 'new' from generate_series(30001, 30500) n;
      update numbers set text = 'changed' where n <= 100; delete from numbers where n = 200`)
  await until(same, 30_000)
  expect((await subscriber.query('select text from numbers where n = 7'))[0]).toEqual(['changed'])
  await subscriber.query('drop subscription numbers')
  expect(await straight('select count(*)::int from pg_replication_slots')).toEqual([0])
  await noWalsenders()
}, 90_000)
