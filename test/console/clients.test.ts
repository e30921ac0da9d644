// Goal: psql and drivers work with the console as with PgBouncer's, and better: also those that
// only speak the extended protocol, and ask for binary values.
// Method: a cluster of one node, each client's own way to say SHOW; raw messages for the rest.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { SQL } from 'bun'
import { Client } from 'pg'
import postgres from 'postgres'
import { bind, close, describe, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { debianPython, debianTool } from '../support/debian.ts'
import { addressOf, Admin, connectTo } from './admin.ts'

let cluster: Cluster
let url: string

beforeAll(async () => {
  cluster = await startCluster({ poolers: 1, tls: 'auto' })
  url = cluster.url.replace(/\/postgres$/, '/multigres')
}, 120_000)

afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]()
})

const psql = await debianTool('psql')

async function runPsql(...args: string[]): Promise<{ out: string; err: string; code: number }> {
  if ('skipped' in psql) throw new Error(psql.skipped)
  const child = Bun.spawn([psql.path, '-X', '-A', '-t', ...args, url], {
    env: { ...process.env, ...psql.env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [out, err, code] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ])
  return { out: out.trim(), err: err.trim(), code }
}

test.skipIf('skipped' in psql)('psql shows tables, several at once, and help', async () => {
  const { out, code } = await runPsql('-c', 'show version; -- and\nshow state;')
  expect(code).toBe(0)
  expect(out).toStartWith('PgBouncer 1.')
  expect(out).toContain('active|yes')
  expect((await runPsql('-c', 'show help;')).err).toContain('RECONNECT [<db>]')
})

test.skipIf('skipped' in psql)('psql goes on after a command that is none', async () => {
  const { out, err } = await runPsql('-c', '\\d', '-c', 'select 1', '-c', 'show state')
  expect(err).toContain("ERROR:  invalid command 'select 1'")
  expect(err).toContain('SHOW HELP')
  expect(out).toContain('paused|no')
})

test('postgres.js, which prepares everything, without its look at pg_type', async () => {
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => {} })
  const pools = await sql.unsafe('show pools')
  const prepared = await sql.unsafe('show stats_totals', [], { prepare: true })
  await sql.end()
  expect(pools[0]).toMatchObject({ database: 'multigres', cl_active: expect.any(Number) })
  expect(prepared.columns.map(({ name }) => name)).toContain('query_count')
})

test('node-postgres, simple and by name', async () => {
  const client = new Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query('SHOW DATABASES')
  const named = await client.query({ name: 'lists', text: 'SHOW LISTS', values: [] })
  const refused = await client.query('SHOW NOTHING').catch((error: unknown) => error)
  expect(refused).toMatchObject({ code: '42601' })
  const after = await client.query('SHOW STATE')
  await client.end()
  expect(rows.map((row: { name: string }) => row.name)).toContain('multigres')
  expect(named.rows[0]).toEqual({ list: 'databases', items: expect.any(Number) })
  expect(after.rows).toHaveLength(4)
})

test('Bun.SQL, which asks for binary values', async () => {
  const sql = new SQL(url, { max: 1 })
  const rows: Record<string, unknown>[] = await sql.unsafe('SHOW POOLS')
  await sql.end()
  expect(rows[0]).toMatchObject({ database: 'multigres', cl_active: expect.any(Number) })
})

const python = await debianPython('python3-psycopg')

test.skipIf('skipped' in python)(
  'psycopg, in its transactions and with binary values',
  async () => {
    if ('skipped' in python) return
    const script = `
import psycopg, sys
with psycopg.connect(sys.argv[1]) as conn:
  print(conn.execute("show pools").fetchall()[0][:3])
  cur = conn.cursor(binary=True)
  cur.execute("show stats_totals")
  print([column.name for column in cur.description][:2])
  conn.execute("set stats_period = '2min'", prepare=True)
`
    const child = Bun.spawn([python.path, '-c', script, url], {
      env: { ...process.env, ...python.env },
      stdout: 'pipe',
      stderr: 'pipe',
    })
    const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()])
    expect(err).toBe('')
    expect(out).toBe("('multigres', 'multigres', 1)\n['database', 'xact_count']\n")
  },
)

async function connect(): Promise<Admin> {
  return await Admin.connect(addressOf(url))
}

test('Describe tells the columns before anything runs, and none for a command', async () => {
  await using admin = await connect()
  const { frontend } = admin
  frontend.send(
    parse('show lists', { name: 's' }),
    describe({ statement: 's' }),
    bind({ statement: 's' }),
    describe({ portal: '' }),
    execute({ rowsMax: 2 }),
    execute({ rowsMax: 0 }),
    close({ statement: 's' }),
    sync(),
  )
  const lines = await frontend.untilReadyForQuery()
  expect(lines.slice(0, 7)).toEqual([
    'ParseComplete',
    'ParameterDescription',
    'RowDescription list,items',
    'BindComplete',
    'RowDescription list,items',
    expect.stringMatching(/^DataRow databases,/),
    expect.stringMatching(/^DataRow users,/),
  ])
  expect(lines[7]).toBe('PortalSuspended')
  expect(lines.slice(-3)).toEqual(['CommandComplete SHOW', 'CloseComplete', 'ReadyForQuery idle'])
  frontend.send(parse('reload'), describe({ statement: '' }), sync())
  expect(await frontend.untilReadyForQuery()).toContain('NoData')
})

test('numbers in binary are those in text', async () => {
  await using client = await connectTo(cluster)
  for (let left = 300; left > 0; left -= 1) await client.query(`select '${'x'.repeat(900)}'`)
  await using admin = await connect()
  const text = await admin.row('STATS_TOTALS', { database: 'postgres' })
  const { frontend } = admin
  frontend.send(parse('show stats_totals'), bind({ resultFormats: [1] }), execute(), sync())
  let values: readonly (Buffer | null)[] = []
  for (;;) {
    const message = await frontend.message()
    if (message.name === 'DataRow') values = message.values
    if (message.name === 'ReadyForQuery') break
  }
  expect(numericOf(values[3] ?? null)).toBe(BigInt(text['bytes_received'] as string))
  expect(numericOf(values[3] ?? null) > 270_000n).toBe(true)
})

/** The value of a numeric in Postgres's binary format. */
function numericOf(bytes: Buffer | null): bigint {
  if (bytes === null) return -1n
  let value = 0n
  const count = bytes.readUInt16BE(0)
  for (let i = 0; i < count; i += 1) value = value * 10_000n + BigInt(bytes.readUInt16BE(8 + 2 * i))
  for (let i = count; i <= bytes.readUInt16BE(2); i += 1) value *= 10_000n
  return value
}

test('an error in an extended batch skips up to Sync, and runs nothing', async () => {
  await using admin = await connect()
  const { frontend } = admin
  frontend.send(parse('show nothing'), bind(), execute(), parse('reload'), sync())
  expect(await frontend.untilReadyForQuery()).toEqual([
    'ErrorResponse ERROR 42601',
    'ReadyForQuery idle',
  ])
  frontend.send(parse('show state'), bind({ values: ['1'] }), execute(), sync())
  expect((await frontend.untilReadyForQuery()).at(-2)).toBe('ErrorResponse ERROR 08P01')
  frontend.send(bind({ statement: 'gone' }), sync())
  expect((await frontend.untilReadyForQuery())[0]).toBe('ErrorResponse ERROR 26000')
})

test('clients over TLS are shown with what secures them', async () => {
  await using admin = await connect()
  for (const how of ['request', 'direct'] as const) {
    const parameters = { application_name: how }
    await using _client = await connectTo(cluster, { tls: { how }, parameters })
    const row = await admin.row('CLIENTS', { application_name: how })
    expect(row['tls']).toMatch(/^TLSv1\.3\/\w*AES/)
  }
})

test('a message that cannot be ends the session, and nothing else', async () => {
  await using admin = await connect()
  await using broken = await connect()
  broken.frontend.send(Buffer.from([0x51, 0, 0, 0, 1, 0]))
  expect(await broken.frontend.untilClosed()).toEqual(['ErrorResponse FATAL 08P01'])
  expect(await admin.show('STATE')).toHaveLength(4)
})

test('what drivers say around commands does no harm', async () => {
  await using admin = await connect()
  for (const text of [
    'BEGIN',
    'COMMIT',
    "SET application_name = 'x'",
    'SET extra_float_digits = 3',
  ]) {
    await admin.run(text)
  }
  expect(await admin.frontend.query('')).toEqual(['EmptyQueryResponse', 'ReadyForQuery idle'])
  expect(await admin.frontend.query(' ; -- nothing')).toContain('EmptyQueryResponse')
  expect(await admin.run('SHOW FDS').catch((error: unknown) => error)).toMatchObject({
    code: '0A000',
  })
  expect(await admin.run('SUSPEND').catch((error: unknown) => error)).toMatchObject({
    code: '0A000',
  })
})

test('a pipeline of commands is answered in order, cut anywhere', async () => {
  await using admin = await connect()
  const { frontend } = admin
  const bytes = Buffer.concat([query('show state'), query('show nothing'), query('show version')])
  for (const byte of bytes) frontend.send(Buffer.from([byte]))
  const lines = await frontend.untilReady(3)
  expect(lines.filter((line) => !line.startsWith('DataRow'))).toEqual([
    'RowDescription key,value',
    'CommandComplete SHOW',
    'ReadyForQuery idle',
    'ErrorResponse ERROR 42601',
    'ReadyForQuery idle',
    'RowDescription version',
    'CommandComplete SHOW',
    'ReadyForQuery idle',
  ])
})
