// Goal: init, start, reload and stop do what the cluster relies on, on both kinds of Postgres.
// Method: a real Postgres under ManagedPostgres, looked at from outside through SQL and files.
import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { settingsWeOwn } from '../../pgctld/conf/settings-we-own.ts'
import { ReplicationConnection } from '../../shared/replication/replication-connection.ts'
import { failureOf } from '../support/failure.ts'
import { until } from '../support/until.ts'
import {
  INIT_SQL,
  KINDS,
  Member,
  REPLICATION_PASSWORD,
  cleanUp,
  START_MS,
  SUPERUSER_PASSWORD,
} from './managed.ts'

setDefaultTimeout(30_000) // initdb on a busy machine
afterAll(cleanUp)

describe.each(KINDS)('%s Postgres', (kind) => {
  test('init makes a stopped server, which starts as a standby that answers', async () => {
    await using member = await Member.create(kind)
    expect(member.status.state).toBe('NOT_INITIALIZED')
    await member.postgres.init(INIT_SQL)
    expect(member.status).toMatchObject({ state: 'STOPPED', timeline: 1, pid: 0, message: '' })
    expect(member.around).toEqual(['pgdata', 'pgdata.pgpass'])

    await member.start()
    const { version } = member.postgres.options.installation
    expect(member.status).toMatchObject({
      state: 'RUNNING',
      accepting: true,
      inRecovery: true,
      timeline: 1,
      version,
    })
    expect(member.status.systemIdentifier).toBe(
      (await member.sql('select system_identifier from pg_control_system()'))[0]?.[0] ?? '',
    )
    const [row] = await member.sql(
      `select pg_is_in_recovery(), current_setting('data_checksums'),
         pg_encoding_to_char(encoding), current_setting('server_version')
       from pg_database where datname = 'postgres'`,
    )
    expect(row?.slice(0, 3)).toEqual(['t', 'on', 'UTF8'])
    expect(row?.[3]).toStartWith(version)
    expect(await member.sql('select count(*) from t')).toEqual([['0']])

    await member.stop()
    expect(member.status).toMatchObject({ state: 'STOPPED', pid: 0, accepting: false })
    expect(member.status.message).toContain('was stopped')
  })

  test('a statement of init that fails leaves nothing and says what Postgres said', async () => {
    await using member = await Member.create(kind)
    const init = member.postgres.init([...INIT_SQL, 'select 1/0', 'select 2'])
    expect(await failureOf(init)).toMatchObject({
      condition: 'internal_error',
      message: expect.stringContaining('division by zero'),
    })
    expect(member.around).toEqual([])
    expect(member.status.state).toBe('NOT_INITIALIZED')
  })

  test('an entry that single-user mode would cut in two is refused', async () => {
    await using member = await Member.create(kind)
    const body = '$$ begin a; \n b;\n\n end $$'
    const init = member.postgres.init([`do ${body}`])
    expect(await failureOf(init)).toMatchObject({ condition: 'invalid_parameter_value' })
    expect(member.around).toEqual([])
  })

  test('a canceled init leaves nothing', async () => {
    await using member = await Member.create(kind)
    const cancel = new AbortController()
    const init = member.postgres.init(['select pg_sleep(60)'], cancel.signal)
    const outcome = init.catch((error: Error) => error)
    await until(() => member.around.some((name) => name.includes('making')))
    cancel.abort()
    expect(await outcome).toMatchObject({ message: expect.stringContaining('ended before') })
    expect(member.around).toEqual([])
  })

  test('every owned setting is on the command line, out of reach of ALTER SYSTEM', async () => {
    await using member = await Member.initialised(kind)
    await member.start()
    const { id, port, socketDir, listen } = member.postgres.options
    const owned = settingsWeOwn({ clusterName: id, port, socketDir, listen })
    const rows = await member.sql(
      `select name, source from pg_settings where name in (${owned
        .map(({ name }) => `'${name}'`)
        .join(',')})`,
    )
    expect(rows.length).toBe(owned.length)
    for (const [name, source] of rows) {
      // Postgres reads hba_file itself first of all, and calls that an override.
      expect(source).toBe(name === 'hba_file' ? 'override' : 'command line')
    }

    appendFileSync(join(member.dataDir, 'postgresql.auto.conf'), "restart_after_crash = 'on'\n")
    await member.postgres.reload({ work_mem: '7MB' })
    await until(async () => (await member.sql('show work_mem'))[0]?.[0] === '7MB')
    expect(await member.sql('show restart_after_crash')).toEqual([['off']])
  })

  test('settings reach postgresql.auto.conf whole, and other lines stay', async () => {
    await using member = await Member.initialised(kind)
    await member.start({ synchronous_standby_names: 'ANY 1 ("zone1_pooler2")' })
    await member.sql("alter system set work_mem = '9MB'")
    await member.postgres.reload({
      synchronous_commit: 'on',
      primary_conninfo: "host=a password='b'",
    })
    const shown = async (name: string) => (await member.sql(`show ${name}`))[0]?.[0]
    await until(async () => (await shown('primary_conninfo')) === "host=a password='b'")
    expect(await shown('work_mem')).toBe('9MB')
    expect(await shown('synchronous_standby_names')).toBe('ANY 1 ("zone1_pooler2")')
    await member.postgres.reload({ primary_conninfo: '' })
    const text = readFileSync(join(member.dataDir, 'postgresql.auto.conf'), 'utf8')
    expect(text).not.toContain('primary_conninfo')
    expect(text).toContain('work_mem')
    await until(async () => (await shown('primary_conninfo')) === '')
  })

  test('owned settings, names that are none and values of two lines are refused', async () => {
    await using member = await Member.initialised(kind)
    for (const settings of [{ fsync: 'off' }, { 'a b': 'x' }, { work_mem: '1\nfsync = off' }]) {
      expect(
        await failureOf(member.postgres.reload(settings as Record<string, string>)),
      ).toMatchObject({
        condition: 'invalid_parameter_value',
      })
    }
  })

  test('a second start changes nothing but the settings', async () => {
    await using member = await Member.initialised(kind)
    await member.start()
    const { pid } = member.status
    await member.start({ work_mem: '11MB' })
    expect(member.status.pid).toBe(pid)
    await until(async () => (await member.sql('show work_mem'))[0]?.[0] === '11MB')
    await member.postgres.restart({}, { mode: 'fast', timeoutMs: START_MS })
    expect(member.status.pid).not.toBe(pid)
    expect(member.status.state).toBe('RUNNING')
    await member.stop()
    await member.stop()
  })

  test('over TCP only the replication role gets in, with its password', async () => {
    await using member = await Member.initialised(kind)
    await member.start()
    const address = { host: '127.0.0.1', port: member.postgres.options.port }
    const replication = { address, user: 'multigres_replication' }
    const secret = { password: REPLICATION_PASSWORD }
    using connection = await ReplicationConnection.connect({ ...replication, secret })
    expect((await connection.identifySystem()).timeline).toBe(1)
    const wrong = ReplicationConnection.connect({ ...replication, secret: { password: 'x' } })
    expect(await failureOf(wrong)).toMatchObject({ sqlstate: '28P01' })
    const superuser = { user: 'postgres', secret: { password: SUPERUSER_PASSWORD } }
    const refused = ReplicationConnection.connect({ address, ...superuser })
    expect(await failureOf(refused)).toMatchObject({ sqlstate: '28000' })
  })

  test("files are Postgres's own and closed to others", async () => {
    await using member = await Member.initialised(kind)
    await member.start()
    const { runAs, socketDir } = member.postgres.options
    for (const [path, mode] of [
      [member.dataDir, 0o700],
      [socketDir, 0o700],
      [member.status.passfile, 0o600],
      [join(member.dataDir, 'pg_hba.conf'), 0o600],
      [join(member.dataDir, 'standby.signal'), 0o600],
    ] as const) {
      const stat = statSync(path)
      expect([path, stat.uid, stat.mode & 0o7777]).toEqual([path, runAs.uid, mode])
    }
    const groups = readFileSync(`/proc/${member.status.pid}/status`, 'utf8')
    expect(groups).toMatch(new RegExp(`^Uid:\\s+${runAs.uid}\\s`, 'm'))
    if (runAs.drop) expect(groups).toMatch(/^Groups:\s*$/m)
  })
})

test('a directory with other files is neither initialised nor started', async () => {
  await using member = await Member.create()
  mkdirSync(member.dataDir)
  writeFileSync(join(member.dataDir, 'letter.txt'), 'dear')
  expect(member.status).toMatchObject({
    state: 'UNUSABLE',
    message: `${member.dataDir} is no Postgres data directory and holds letter.txt`,
  })
  for (const attempt of [() => member.postgres.init([]), () => member.start()]) {
    expect(await failureOf(attempt())).toMatchObject({
      condition: 'object_not_in_prerequisite_state',
      message: expect.stringContaining('letter.txt'),
    })
  }
  expect(existsSync(join(member.dataDir, 'letter.txt'))).toBe(true)
  expect(member.around).toEqual(['pgdata'])
})

test('an initialised directory is not initialised again', async () => {
  await using member = await Member.initialised()
  const again = member.postgres.init([])
  expect(await failureOf(again)).toMatchObject({ message: expect.stringContaining('already') })
  expect(member.status.state).toBe('STOPPED')
})
