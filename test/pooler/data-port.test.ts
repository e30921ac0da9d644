// Goal: one port serves links, plain drivers, cancel requests and whatever else knocks.
// Method: psql and raw sockets against a data server over a real Postgres.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { Client } from 'pg'
import { DataServer } from '../../pooler/server.ts'
import {
  bind,
  execute,
  flush,
  parse,
  query,
  sslRequest,
  startup,
  sync,
} from '../../shared/pgwire/frontend.ts'
import { until } from '../support/until.ts'
import { openFiles, SECRET, SERVING, startHarness, type Harness } from './harness.ts'
import { TestLink } from './test-link.ts'

setDefaultTimeout(30_000)
let h: Harness
beforeAll(async () => {
  h = await startHarness(
    { poolSize: 2, plainSessionsMax: 3, authenticationTimeoutMs: 1000 },
    {
      sql: [
        "create role bob login password 'secret'",
        'create role mute login',
        "create role eve login password 'secret'",
      ],
    },
  )
}, 60_000)
afterAll(() => h[Symbol.asyncDispose]())

function client(options: { user?: string; password?: string; host?: string } = {}): Client {
  const { user = 'postgres', host = '127.0.0.1', password = 'postgres' } = options
  return new Client({ host, port: h.server.port, user, password, database: 'postgres' })
}

async function idle(): Promise<void> {
  await until(() => h.server.plainSessions.size === 0 && h.server.connections === 1)
}

describe('a plain driver', () => {
  test('logs in by its password over TCP, and has a session of its own', async () => {
    const db = client({ user: 'bob', password: 'secret' })
    await db.connect()
    await db.query('create temp table mine (a int); insert into mine values (7)')
    await db.query("set application_name = 'me'")
    const { rows } = await db.query({
      name: 'n',
      text: 'select a, $1::text as b from mine',
      values: ['x'],
    })
    expect(rows).toEqual([{ a: 7, b: 'x' }])
    await db.end()
    await idle()
  })

  test.each([
    ['a wrong password', { user: 'bob', password: 'wrong' }],
    ['a role that does not exist', { user: 'nobody_knows', password: 'secret' }],
    ['a role without a password', { user: 'mute', password: 'secret' }],
  ])('with %s is refused', async (_, options) => {
    const db = client(options)
    db.on('error', () => undefined)
    expect(await db.connect().catch((error: { code: string }) => error.code)).toBe('28P01')
    await idle()
  })

  test('comes in by the unix socket without one', async () => {
    const host = h.config.socketDir as string
    const db = client({ host })
    await db.connect()
    const sleeping = db.query('select pg_sleep(60)').catch((error: { code: string }) => error.code)
    const other = client({ host })
    await other.connect()
    await until(async () => {
      const { rows } = await other.query(
        "select pg_cancel_backend(pid) from pg_stat_activity where query like '%pg_sleep(60)' and pid <> pg_backend_pid()",
      )
      return rows.length === 1
    })
    expect(await sleeping).toBe('57014')
    await db.end()
    await other.end()
    await idle()
  })

  test('cancels by a CancelRequest to the data port', async () => {
    const host = h.config.socketDir as string
    const args = [
      '-h',
      host,
      '-p',
      String(h.server.port),
      '-U',
      'postgres',
      '-c',
      'select pg_sleep(60)',
    ]
    const psql = Bun.spawn(['psql', ...args, 'postgres'], { stdout: 'pipe', stderr: 'pipe' })
    await until(async () => {
      const rows = await h.postgres.query(
        "select 1 from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'",
      )
      return rows.length > 0
    })
    psql.kill('SIGINT')
    expect(await new Response(psql.stderr).text()).toContain('canceling statement')
    await idle()
  })

  test('copies both ways', async () => {
    const host = h.config.socketDir as string
    const args = ['-X', '-h', host, '-p', String(h.server.port), '-U', 'postgres', 'postgres']
    const script = `create table copied (a int, b text);
\\copy copied from program 'seq 1 200000 | sed "s/$/\\\\tsome text/"'
\\copy copied to program 'wc -l'
drop table copied;`
    const psql = Bun.spawn(['psql', ...args], { stdin: Buffer.from(script), stderr: 'pipe' })
    const out = await new Response(psql.stdout).text()
    expect(out).toContain('COPY 200000')
    expect(out).toMatch(/^200000$/m)
    await idle()
  })

  test('beyond plain_sessions_max is refused', async () => {
    const open = [client(), client(), client()]
    for (const db of open) await db.connect()
    const late = client()
    late.on('error', () => undefined)
    expect(await late.connect().catch((error: { code: string }) => error.code)).toBe('53300')
    for (const db of open) await db.end()
    await idle()
  })

  test('ends when this node serves no more', async () => {
    const db = client()
    const errors: string[] = []
    db.on('error', (error: Error & { code?: string }) => errors.push(error.code ?? ''))
    await db.connect()
    h.serving.set({ ...SERVING, role: 'unknown', serving: false, reason: 'recruited' })
    await until(() => errors.includes('57P01'))
    const refused = client()
    refused.on('error', () => undefined)
    expect(await refused.connect().catch((error: { code: string }) => error.code)).toBe('57P03')
    h.serving.set(SERVING)
    await idle()
  })

  test('may look at a follower', async () => {
    h.serving.set({ ...SERVING, role: 'follower', serving: false, reason: 'a follower' })
    const db = client()
    await db.connect()
    expect((await db.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    await db.end()
    h.serving.set(SERVING)
    await idle()
  })
})

describe('the first bytes', () => {
  async function knock(bytes: Buffer): Promise<Buffer> {
    const got: Buffer[] = []
    let closed = false
    const socket = await Bun.connect({
      hostname: '127.0.0.1',
      port: h.server.port,
      socket: {
        data: (_, chunk) => void got.push(Buffer.from(chunk)),
        close: () => void (closed = true),
      },
    })
    socket.write(bytes)
    await until(() => closed || Buffer.concat(got).equals(Buffer.from('N')))
    socket.terminate()
    return Buffer.concat(got)
  }

  test('that ask for TLS are answered N', async () => {
    expect((await knock(sslRequest())).toString()).toBe('N')
  })

  test('of an unknown version are refused', async () => {
    const packet = Buffer.alloc(8)
    packet.writeInt32BE(8, 0)
    packet.writeInt32BE(0x0002_0000, 4)
    expect((await knock(packet)).toString()).toContain('0A000')
  })

  test('that ask for replication are refused', async () => {
    const packet = startup({ user: 'postgres', replication: 'true' })
    expect((await knock(packet)).toString()).toContain('0A000')
  })

  test('that are no startup packet end the connection', async () => {
    expect((await knock(Buffer.from('GET / HTTP/1.1\r\n\r\n'))).toString()).toContain('08P01')
  })

  test('that never come end it after authentication_timeout', async () => {
    expect(await knock(Buffer.alloc(0))).toHaveLength(0)
  })

  test('of a link with another secret are refused', async () => {
    const address = { host: '127.0.0.1', port: h.server.port }
    const wrong = TestLink.connect(address, Buffer.from('another'), h.config.id)
    expect(await wrong.catch((error: Error) => error.message)).toContain('link secret')
    const right = await TestLink.connect(address, SECRET, h.config.id)
    const stream = await right.open()
    expect((await stream.run(query('select 1')))[1]).toBe('DataRow 1')
    right.close()
    await idle()
  })
})

describe('a login row', () => {
  test('says what Postgres knows', async () => {
    expect(await h.link.login('bob', 'postgres')).toMatchObject({
      found: true,
      canLogin: true,
      validUntilMs: null,
      connect: true,
      connectionLimit: -1,
      superuser: false,
      replication: false,
      databaseFound: true,
      databaseAllowsConnections: true,
    })
    expect(await h.link.login('nobody_knows', 'postgres')).toMatchObject({ found: false })
    expect(await h.link.login('bob', 'nowhere')).toMatchObject({ databaseFound: false })
    expect(await h.link.login('bob', 'template0')).toMatchObject({
      databaseAllowsConnections: false,
    })
  })

  test('is read anew each time', async () => {
    const before = (await h.link.login('eve', 'postgres')) as { verifier: string }
    await h.postgres.query(
      "alter role eve password 'other' valid until '2001-01-01' connection limit 3",
    )
    const after = (await h.link.login('eve', 'postgres')) as {
      verifier: string
      validUntilMs: number
    }
    expect(after.verifier).not.toBe(before.verifier)
    expect(after).toMatchObject({ connectionLimit: 3 })
    expect(after.validUntilMs).toBeLessThan(Date.now())
  })
})

const DROPPED = ['CommandComplete DROP DATABASE', 'ReadyForQuery idle']

test('a database can be dropped although backends of it idle here', async () => {
  const stream = await h.link.open()
  await stream.run(query('create database short_lived'))
  const inside = await h.link.open({ database: 'short_lived' })
  expect((await inside.run(query('select 1')))[1]).toBe('DataRow 1')
  await inside.close()
  expect(await stream.run(query('drop database short_lived'))).toEqual(DROPPED)
  await stream.close()
})

test('a database can be dropped once the backends in use there fall free', async () => {
  const stream = await h.link.open()
  await stream.run(query('create database short_lived'))
  const inside = await h.link.open({ database: 'short_lived' })
  inside.batch([parse('select 1'), bind(), execute(), flush()], { final: false })
  await inside.until('DataRow 1')
  const dropped = stream.run(query('drop database short_lived'))
  await until(async () => {
    const waits = "query like 'drop database%' and state = 'active'"
    const rows = await h.postgres.query(`select from pg_stat_activity where ${waits}`)
    return rows.length === 1
  })
  inside.more(sync(), { final: true })
  expect(await inside.end()).toContain('ReadyForQuery idle')
  expect(await dropped).toEqual(DROPPED)
  await inside.close()
  await stream.close()
})

describe('the life of the port', () => {
  test('health says who this is and how its pools are', async () => {
    await until(() => h.link.health !== undefined)
    expect(h.link.health).toMatchObject({
      id: h.config.id,
      role: 'leader',
      term: '1',
      serving: true,
    })
    const before = h.link.health
    await until(() => h.link.health !== before) // by itself, every 250 ms
  })

  test('a drain lets transactions finish and refuses new work', async () => {
    const [busy, idler] = [await h.link.open(), await h.link.open()]
    await busy.run(query('begin'))
    const drained = h.server.drain(new AbortController().signal)
    await until(() => h.link.health?.reason === 'draining')
    expect(await idler.run(query('select 1'))).toEqual(['REFUSED draining 57P03'])
    expect((await busy.run(query('select 1')))[1]).toBe('DataRow 1')
    await busy.run(query('commit'))
    expect(await drained).toBe(0)
    h.server.resume()
    expect((await idler.run(query('select 1')))[1]).toBe('DataRow 1')
    await busy.run(query('begin'))
    expect(await h.server.drain(AbortSignal.abort())).toBe(1)
    expect(await busy.end()).toEqual(['CLOSED ErrorResponse FATAL 57P01'])
    h.server.resume()
    await idler.close()
  })

  test('a busy port and a used socket are named', async () => {
    const options = {
      serving: h.serving,
      log: h.server.executor.log,
      metrics: h.metrics,
      postgres: () => undefined,
      linkSecret: SECRET,
    }
    const config = { values: { ...h.config, port: h.server.port } }
    const failed = DataServer.listen({ ...options, config })
    expect(await failed.catch((error: Error) => error.message)).toContain(
      `port ${h.server.port} on 127.0.0.1 is busy`,
    )
  })

  test('metrics and debug views show what is there', async () => {
    const text = h.metrics.text()
    expect(text).toContain('pooler_batches_total')
    expect(text).toContain('pooler_refused_total{code="draining"}')
    for (const view of Object.values(h.server.debug)) JSON.stringify(view())
    const streams = h.server.debug['streams']?.() as { state: string }[]
    expect(Array.isArray(streams)).toBe(true)
  })

  test('nothing is left open', async () => {
    await idle()
    expect(openFiles()).toBeLessThan(200)
  })
})
