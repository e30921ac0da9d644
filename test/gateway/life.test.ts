// Goal: clients come in, are limited, cancelled, drained and forgotten as the settings say.
// Method: gateways with small limits in front of one real pooler and Postgres.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { bind, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { startHarness, VIAS, type Harness } from './harness.ts'

let harness: Harness
beforeAll(async () => {
  harness = await startHarness({
    pooler: { poolSize: 2 },
    postgres: {
      sql: [
        "create role alice login password 'a'",
        "create role bob login password 'b' connection limit 1",
        "create role nobody nologin password 'n'",
        "create role late login password 'l' valid until '2001-01-01'",
        'create role bare login',
        "set password_encryption = md5; create role old login password 'o'",
        'create database closed allow_connections false',
        'create database private',
        'revoke connect on database private from public',
      ],
    },
  })
}, 60_000)
afterAll(() => harness[Symbol.asyncDispose]())

const refusal = async (connecting: Promise<Frontend>): Promise<string> => {
  try {
    await using _frontend = await connecting
    return 'let in'
  } catch (error) {
    return (error as Error).message
  }
}

describe.each(VIAS)('logins via %s', (via) => {
  const login = (user: string, password: string, database = 'postgres') =>
    refusal(harness.connect(via, { user, password, database }))

  test('are refused in Postgres’s words', async () => {
    const wrong = (user: string) => `FATAL 28P01 password authentication failed for user "${user}"`
    expect(await login('alice', 'a')).toBe('let in')
    expect(await login('alice', 'x')).toContain(wrong('alice'))
    expect(await login('unknown', 'x')).toContain(wrong('unknown'))
    expect(await login('bare', 'x')).toContain(wrong('bare'))
    expect(await login('late', 'l')).toContain(wrong('late'))
    expect(await login('nobody', 'n')).toContain('role "nobody" is not permitted to log in')
    expect(await login('alice', 'a', 'gone')).toContain('3D000 database "gone" does not exist')
    expect(await login('alice', 'a', 'closed')).toContain('55000')
    expect(await login('alice', 'a', 'private')).toContain('42501 permission denied for database')
  })

  test('end at the connection limit of the role', async () => {
    await using _one = await harness.connect(via, { user: 'bob', password: 'b' })
    expect(await login('bob', 'b')).toContain('53300 too many connections for role "bob"')
  })

  test('know a password that was changed a moment ago', async () => {
    await using admin = await harness.connect(via)
    await admin.query("alter role alice password 'new'")
    expect(await login('alice', 'a')).toContain('28P01')
    expect(await login('alice', 'new')).toBe('let in')
    await admin.query("alter role alice password 'a'")
  })

  test('options are settings, and what Postgres refuses is refused', async () => {
    const options = (text: string) =>
      refusal(harness.connect(via, { parameters: { options: text } }))
    await using frontend = await harness.connect(via, {
      parameters: { options: '-c work_mem=5MB --search-path=a,\\ b -c statement-timeout=7s' },
    })
    expect(await frontend.row("select current_setting('work_mem')")).toEqual(['5MB'])
    expect(await frontend.row("select current_setting('search_path')")).toEqual(['a, b'])
    expect(await frontend.row("select current_setting('statement_timeout')")).toEqual(['7s'])
    expect(await options('-c nothing=1')).toContain('42704')
    expect(await options('-c user=bob')).toContain('42704')
    expect(await options('-c work_mem=x')).toContain('22023')
    expect(await options('-c work_mem')).toContain('42601')
    expect(await options('--nothing')).toContain('42601')
  })
})

describe('limits', () => {
  const start = async (settings: Parameters<Harness['anotherGateway']>[0]) => {
    const gateway = await harness.anotherGateway(settings)
    await until(() => gateway.router.leader !== undefined)
    const login = (user = 'postgres', password = 'postgres', database = 'postgres') =>
      Frontend.connect({ host: '127.0.0.1', port: gateway.port }, { user, password, database })
    return { gateway, login }
  }

  test('the next client is refused with 53300, and comes in when another left', async () => {
    const { login } = await start({ clientsMax: 2 })
    const one = await login()
    await using _two = await login()
    expect(await refusal(login())).toContain('53300 sorry, too many clients already')
    await one[Symbol.asyncDispose]()
    await until(async () => (await refusal(login())) === 'let in')
  })

  test('of one user and one database', async () => {
    const { login } = await start({ clientsPerUserMax: 1 })
    await using _one = await login()
    expect(await refusal(login())).toContain('53300')
    expect(await refusal(login('alice', 'a'))).toBe('let in')
    const second = await start({ clientsPerDatabaseMax: 1 })
    await using _other = await second.login()
    expect(await refusal(second.login('alice', 'a'))).toContain('53300')
    expect(await refusal(second.login('alice', 'a', 'template1'))).toBe('let in')
  })

  test('who does not log in in time is closed', async () => {
    const { gateway } = await start({ authenticationTimeoutMs: 100 })
    await using silent = await Frontend.open({ host: '127.0.0.1', port: gateway.port })
    expect(await silent.untilClosed()).toEqual([])
    await until(() => gateway.connections.size === 0)
  })
})

describe('a cancel', () => {
  const sleeping = async (frontend: Frontend) => {
    frontend.send(query('select pg_sleep(20)'))
    await using watcher = await harness.connect('postgres')
    const running =
      "select count(*) from pg_stat_activity where query = 'select pg_sleep(20)' and state = 'active'"
    await until(async () => (await watcher.row(running))[0] === '1')
  }

  test('through another gateway reaches its session', async () => {
    const other = await harness.anotherGateway()
    await using frontend = await harness.connect('gateway')
    await sleeping(frontend)
    await using canceler = await Frontend.open({ host: '127.0.0.1', port: other.port })
    const { cancelRequest } = await import('../../shared/pgwire/frontend.ts')
    canceler.send(cancelRequest(frontend.processId, frontend.cancelKey))
    expect(await canceler.untilClosed()).toEqual([])
    expect(await frontend.untilReadyForQuery()).toContain('ErrorResponse ERROR 57014')
    expect(await frontend.query('select 1')).toContain('DataRow 1')
  })

  test('of a batch that waits for a backend answers 57014, and hits nobody', async () => {
    await using one = await harness.connect('gateway')
    await using two = await harness.connect('gateway')
    await using waiting = await harness.connect('gateway')
    await one.query('begin')
    await two.query('begin')
    waiting.send(query('select 1'))
    await until(() => harness.pooler.server.executor.pools.waitingTotal === 1)
    await waiting.cancel()
    expect(await waiting.untilReadyForQuery()).toContain('ErrorResponse ERROR 57014')
    expect(await one.query('select 1')).toContain('ReadyForQuery transaction')
  })

  test('never hits the next query', async () => {
    await using frontend = await harness.connect('gateway')
    await using other = await harness.connect('gateway')
    for (let at = 0; at < 100; at++) {
      frontend.send(query('select pg_sleep(0.001)'))
      await frontend.cancel()
      await frontend.untilReadyForQuery()
      expect(await other.query('select 1')).toContain('DataRow 1')
    }
  })
})

describe('a drain', () => {
  test('lets transactions finish, refuses the new, and ends the idle with 57P01', async () => {
    const gateway = await harness.anotherGateway()
    await until(() => gateway.router.leader !== undefined)
    const address = { host: '127.0.0.1', port: gateway.port }
    await using idle = await Frontend.connect(address)
    await using busy = await Frontend.connect(address)
    await busy.query('begin')
    const deadline = new AbortController()
    const draining = gateway.drain(deadline.signal)
    expect(await refusal(Frontend.connect(address))).not.toBe('let in')
    expect(await busy.query('select 1')).toContain('DataRow 1')
    await busy.query('commit')
    expect(await draining).toBe(0)
    for (const frontend of [idle, busy]) {
      expect(await frontend.untilClosed()).toEqual(['ErrorResponse FATAL 57P01'])
    }
  })

  test('cuts and counts at the deadline', async () => {
    const gateway = await harness.anotherGateway()
    await until(() => gateway.router.leader !== undefined)
    await using busy = await Frontend.connect({ host: '127.0.0.1', port: gateway.port })
    await busy.query('begin')
    const deadline = new AbortController()
    const draining = gateway.drain(deadline.signal)
    deadline.abort()
    expect(await draining).toBe(1)
    expect(await busy.untilClosed()).toEqual(['ErrorResponse FATAL 57P01'])
  })

  test('can be taken back', async () => {
    const gateway = await harness.anotherGateway()
    await until(() => gateway.router.leader !== undefined)
    const address = { host: '127.0.0.1', port: gateway.port }
    await using busy = await Frontend.connect(address)
    await busy.query('begin')
    const draining = gateway.drain(new AbortController().signal)
    gateway.resume()
    expect(await draining).toBe(0)
    await until(async () => (await refusal(Frontend.connect(address))) === 'let in')
    expect(await busy.query('commit')).toContain('ReadyForQuery idle')
  })
})

describe('session state', () => {
  test('is seen by nobody else, and gone for who comes next', async () => {
    const leave = [
      'set work_mem = 9999',
      "select set_config('app.tenant', 'one', false)",
      'create temp table mine (a int)',
      'prepare mine as select 1',
      'select pg_advisory_lock(42)',
      'listen here',
      "select setseed(0.5), nextval('s')",
      "do $$ begin perform set_config('app.hidden', 'x', false); end $$",
    ]
    await using admin = await harness.connect('postgres')
    await admin.query('create sequence if not exists s')
    const look = [
      "select current_setting('work_mem') || coalesce(current_setting('app.tenant', true), '-') || coalesce(current_setting('app.hidden', true), '-')",
      "select count(*) from pg_class where relname = 'mine' and relnamespace = pg_my_temp_schema()",
      "select count(*) from pg_prepared_statements where name = 'mine'",
      'select count(*) from pg_listening_channels()',
    ]
    for (const text of leave) {
      await using one = await harness.connect('gateway')
      await one.query(text)
      await using two = await harness.connect('gateway')
      expect(await two.row(look[0] as string)).toEqual(['4MB--'])
      for (const question of look.slice(1, 2)) expect(await two.row(question)).toEqual(['0'])
      await one[Symbol.asyncDispose]()
      await using three = await harness.connect('gateway')
      await using four = await harness.connect('gateway')
      await three.query('begin')
      for (const frontend of [three, four]) {
        expect(await frontend.row(look[0] as string)).toEqual(['4MB--'])
        for (const question of look.slice(1)) expect(await frontend.row(question)).toEqual(['0'])
      }
    }
  }, 20_000)

  test('in extended messages pins as in a Query', async () => {
    await using one = await harness.connect('gateway')
    one.send(parse('set work_mem = 8888'), bind(), execute(), sync())
    await one.untilReadyForQuery()
    await using other = await harness.connect('gateway')
    expect(await other.row("select current_setting('work_mem')")).toEqual(['4MB'])
    expect(await one.row("select current_setting('work_mem')")).toEqual(['8888kB'])
  })

  test('currval is one’s own or nothing', async () => {
    await using one = await harness.connect('gateway')
    await one.query('create table if not exists numbered (a serial)')
    await one.query('insert into numbered default values')
    await using early = await harness.connect('gateway')
    // Nobody has asked yet, and what it writes itself advances nothing.
    await early.query('begin; create table unnumbered (a int); insert into unnumbered values (1)')
    expect(await early.query('select lastval()')).toContain('ErrorResponse ERROR 55000')
    await early.query('rollback; begin')
    expect(await early.query('select lastval()')).toContain('ErrorResponse ERROR 55000')
    await early.query('rollback; begin')
    await early.query('insert into numbered default values')
    expect(await early.query('select lastval()')).toContain('CommandComplete SELECT 1')
    await early.query('rollback')
    await using two = await harness.connect('gateway')
    expect(await two.query('select lastval()')).toContain('ErrorResponse ERROR 55000')
    await two.query("select nextval('s')")
    expect(await two.query("select currval('s')")).toContain('ReadyForQuery idle')
  })

  test('changes of reported values are told once', async () => {
    await using frontend = await harness.connect('gateway')
    expect(await frontend.query("set datestyle = 'German'")).toEqual([
      'CommandComplete SET',
      'ParameterStatus DateStyle=German, DMY',
      'ReadyForQuery idle',
    ])
    expect(await frontend.query('select 1')).not.toContain('ParameterStatus DateStyle=German, DMY')
    await using other = await harness.connect('gateway')
    expect(other.parameters.get('DateStyle')).toBe('ISO, MDY')
  })
})

describe.each(VIAS)('the first packets via %s', (via) => {
  const answer = async (...packets: Buffer[]): Promise<string> => {
    await using frontend = await Frontend.open(harness.address(via))
    frontend.send(...packets)
    return (await frontend.bytesUntilClosed()).toString('latin1')
  }
  const packet = (...words: number[]): Buffer => {
    const bytes = Buffer.alloc(4 * words.length)
    words.forEach((word, at) => bytes.writeInt32BE(word, 4 * at))
    return bytes
  }

  test('nothing may be sent ahead of the answer to SSLRequest and GSSENCRequest', async () => {
    for (const code of [80_877_103, 80_877_104]) {
      const said = await answer(packet(8, code), packet(8, 196_608))
      expect(said[0]).toBe('N')
      expect(said).toContain('08P01')
      expect(said).toContain('received unencrypted data after')
    }
  })

  test('protocol 2 is refused in its own words', async () => {
    expect(await answer(packet(8, 131_072))).toBe(
      'EFATAL:  unsupported frontend protocol 2.0: server supports 3.0 to 3.2\n\0',
    )
  })
})
