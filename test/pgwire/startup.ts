import { expect, test } from 'bun:test'
import { gssEncRequest, query, startup } from '../../shared/pgwire/frontend.ts'
import { ProtocolVersion } from '../../shared/pgwire/message-types.ts'
import type { LoginOptions } from '../support/frontend.ts'
import { Frontend, StartupError } from '../support/frontend.ts'
import type { Server } from '../support/servers.ts'

/** The first messages of a session: who may in, what is told, what is refused and how. */
export function startupTests(server: () => Server): void {
  test('a session begins with its parameters, its key and ReadyForQuery', async () => {
    await using frontend = await Frontend.open(server().address)
    const lines = await frontend.login()
    expect(lines[0]).toBe('AuthenticationOk')
    expect(lines.at(-1)).toBe('ReadyForQuery idle')
    expect(lines.at(-2)).toStartWith('BackendKeyData')
    expect(
      lines
        .slice(1, -2)
        .map((line) => line.replace(/=.*/, ''))
        .toSorted(),
    ).toEqual(
      [
        'DateStyle',
        'IntervalStyle',
        'TimeZone',
        'application_name',
        'client_encoding',
        'default_transaction_read_only',
        'in_hot_standby',
        'integer_datetimes',
        'is_superuser',
        'scram_iterations',
        'search_path',
        'server_encoding',
        'server_version',
        'session_authorization',
        'standard_conforming_strings',
      ]
        .map((name) => `ParameterStatus ${name}`)
        .toSorted(),
    )
    expect(Object.fromEntries(frontend.parameters)).toMatchObject({
      client_encoding: 'UTF8',
      session_authorization: 'postgres',
      is_superuser: 'on',
      in_hot_standby: 'off',
      server_version: '18.4',
    })
  })

  test.each<[string, LoginOptions, string, string]>([
    [
      'a wrong password',
      { password: 'wrong' },
      '28P01',
      'password authentication failed for user "postgres"',
    ],
    [
      'an unknown user',
      { user: 'nobody' },
      '28P01',
      'password authentication failed for user "nobody"',
    ],
    ['an unknown database', { database: 'none' }, '3D000', 'database "none" does not exist'],
    [
      'a bad value of a setting',
      { parameters: { work_mem: 'much' } },
      '22023',
      'invalid value for parameter "work_mem": "much"',
    ],
    [
      'a bad value in options',
      { parameters: { options: '-c work_mem=much' } },
      '22023',
      'invalid value for parameter "work_mem": "much"',
    ],
    [
      'an unknown setting',
      { parameters: { nothing: 'x' } },
      '42704',
      'unrecognized configuration parameter "nothing"',
    ],
    [
      'an encoding that is none',
      { parameters: { client_encoding: 'x' } },
      '22023',
      'invalid value for parameter "client_encoding": "x"',
    ],
  ])('%s is refused', async (_, options, code, message) => {
    const refused = await server()
      .connect(options)
      .catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(StartupError)
    expect((refused as StartupError).fields).toMatchObject({ severity: 'FATAL', code, message })
  })

  test('an unknown user looks like a wrong password, message for message', async () => {
    const shapeOf = async (options: LoginOptions): Promise<string[]> => {
      await using frontend = await Frontend.open(server().address)
      frontend.send(startup({ user: options.user ?? 'postgres', database: 'postgres' }))
      const first = await frontend.message()
      await using again = await Frontend.open(server().address)
      const error = await again.login(options).catch((thrown: StartupError) => thrown.fields.code)
      return [first.name, JSON.stringify(error)]
    }
    expect(await shapeOf({ user: 'not_there' })).toEqual(await shapeOf({ password: 'wrong' }))
  })

  test('after a refusal the connection is closed', async () => {
    await using frontend = await Frontend.open(server().address)
    await frontend.login({ password: 'wrong' }).catch(() => undefined)
    expect(await frontend.untilClosed()).toEqual([])
  })

  test('who may not log in is told so', async () => {
    await using admin = await server().connect()
    await admin.query(
      "drop role if exists startup_nologin; create role startup_nologin password 'p'",
    )
    const refused = await server()
      .connect({ user: 'startup_nologin', password: 'p' })
      .catch((error: StartupError) => error.fields)
    expect(refused).toMatchObject({
      code: '28000',
      message: 'role "startup_nologin" is not permitted to log in',
    })
  })

  test('a user logs in with the password it was given last', async () => {
    await using admin = await server().connect()
    await admin.query(
      "drop role if exists startup_user; create role startup_user login password 'one'",
    )
    const login = async (password: string): Promise<string> => {
      const opening = server().connect({ user: 'startup_user', password })
      return await opening.then(
        async (frontend) => {
          await using owned = frontend
          return (await owned.row('select session_user'))[0] ?? ''
        },
        (error: StartupError) => error.fields.code,
      )
    }
    expect(await login('one')).toBe('startup_user')
    await admin.query("alter role startup_user password 'two'")
    expect(await login('one')).toBe('28P01')
    expect(await login('two')).toBe('startup_user')
    await admin.query("alter role startup_user valid until '2000-01-01'")
    expect(await login('two')).toBe('28P01')
    await admin.query("alter role startup_user valid until 'infinity' password null")
    expect(await login('two')).toBe('28P01')
  })

  test('a user without CONNECT is refused with 42501', async () => {
    await using admin = await server().connect()
    await admin.query(
      "drop role if exists startup_outside; create role startup_outside login password 'p'",
    )
    await admin.query('drop database if exists startup_closed')
    await admin.query('create database startup_closed')
    await admin.query('revoke connect on database startup_closed from public')
    const refused = await server()
      .connect({ user: 'startup_outside', password: 'p', database: 'startup_closed' })
      .catch((error: StartupError) => error.fields)
    expect(refused).toMatchObject({
      code: '42501',
      message: 'permission denied for database "startup_closed"',
    })
    await using owner = await server().connect({ database: 'startup_closed' })
    expect(await owner.row('select current_database()')).toEqual(['startup_closed'])
  })

  test('startup parameters and options are settings of the session', async () => {
    await using frontend = await server().connect({
      parameters: {
        application_name: 'tests of startup',
        DateStyle: 'German',
        options: '-c work_mem=5MB --search_path=a,\\ b -c app.tenant=t1',
      },
    })
    expect(frontend.parameters.get('application_name')).toBe('tests of startup')
    expect(frontend.parameters.get('DateStyle')).toBe('German, DMY')
    expect(
      await frontend.row(`select current_setting('work_mem'), current_setting('search_path'),
        current_setting('app.tenant'), current_setting('application_name')`),
    ).toEqual(['5MB', 'a, b', 't1', 'tests of startup'])
  })

  test('a database not named is the user’s', async () => {
    await using frontend = await Frontend.open(server().address)
    await frontend.login({ database: '' })
    expect(await frontend.row('select current_database()')).toEqual(['postgres'])
  })

  test.each([
    ['3.0', ProtocolVersion.V3_0, {}, []],
    ['3.2', ProtocolVersion.V3_2, {}, []],
    ['3.9999', 0x30000 + 9999, {}, ['NegotiateProtocolVersion 3.2']],
    [
      '3.0 with options',
      ProtocolVersion.V3_0,
      { '_pq_.a': '1' },
      ['NegotiateProtocolVersion 3.0 _pq_.a'],
    ],
    [
      '3.2 with options',
      ProtocolVersion.V3_2,
      { '_pq_.a': '1', '_pq_.b': '' },
      ['NegotiateProtocolVersion 3.2 _pq_.a _pq_.b'],
    ],
  ] as const)('protocol %s is spoken or negotiated', async (_, version, parameters, expected) => {
    await using frontend = await Frontend.open(server().address)
    const lines = await frontend.login({ version, parameters })
    expect(lines.filter((line) => line.startsWith('Negotiate'))).toEqual([...expected])
    expect(await frontend.row('select 1')).toEqual(['1'])
  })

  test.each([
    [0x40000, '4.0'],
    [0x20000, '2.0'],
    [0x1ffff, '1.65535'],
  ])('protocol version %p is refused', async (version, name) => {
    await using frontend = await Frontend.open(server().address)
    frontend.send(startup({ user: 'postgres' }, version))
    const answer = (await frontend.bytesUntilClosed()).toString('latin1')
    expect(answer).toStartWith('E')
    expect(answer).toContain(`unsupported frontend protocol ${name}: server supports 3.0 to 3.2`)
  })

  test('a startup packet without user is 28000', async () => {
    await using frontend = await Frontend.open(server().address)
    frontend.send(startup({ database: 'postgres' }))
    expect(await frontend.untilClosed()).toEqual(['ErrorResponse FATAL 28000'])
  })

  test('GSSENCRequest is answered N, and a session may follow', async () => {
    await using frontend = await Frontend.open(server().address)
    frontend.send(gssEncRequest())
    expect((await frontend.bytes(1)).toString()).toBe('N')
    await frontend.login()
    expect(await frontend.row('select 1')).toEqual(['1'])
  })

  test('another message where the password belongs is 08P01', async () => {
    await using frontend = await Frontend.open(server().address)
    frontend.send(startup({ user: 'postgres' }))
    await frontend.until('AuthenticationSASL')
    frontend.send(query('select 1'))
    expect(await frontend.untilClosed()).toEqual(['ErrorResponse FATAL 08P01'])
  })

  test('a startup packet that arrives byte by byte', async () => {
    await using frontend = await Frontend.open(server().address)
    for (const byte of startup({ user: 'postgres' })) frontend.send(Buffer.from([byte]))
    expect((await frontend.message()).name).toBe('AuthenticationSASL')
  })

  test('clients that come and go at once leave a server that serves', async () => {
    for (let i = 0; i < 20; i += 1) {
      const gone = await Frontend.open(server().address)
      if (i % 2 === 0) gone.send(startup({ user: 'postgres' }).subarray(0, 3 + i))
      gone.destroy()
    }
    await using frontend = await server().connect()
    expect(await frontend.row('select 1')).toEqual(['1'])
  })
}
