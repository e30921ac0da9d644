// Goal: a base backup of every supported Postgres comes whole, in bounded memory, and runs.
// Method: real servers; each archive is unpacked, compared with the manifest and started.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseLsn } from '../../shared/pgwire/lsn.ts'
import { ServerError } from '../../shared/pgwire/server-error.ts'
import { ReplicationConnection } from '../../shared/replication/replication-connection.ts'
import { forkPointOf, parseTimelineHistory } from '../../shared/replication/timeline-history.ts'
import { failureOf } from '../support/failure.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'
import { until } from '../support/until.ts'
import { mismatches, restore } from './restore.ts'

const START_MS = 120_000

const connect = (server: TestPostgres, signal?: AbortSignal) =>
  ReplicationConnection.connect({
    address: { path: join(server.socketDir, `.s.PGSQL.${server.port}`) },
    user: 'postgres',
    timeoutMs: 20_000,
    signal,
  })

describe.each([14, 15, 16, 17, 18] as const)('PostgreSQL %p', (major) => {
  let server: TestPostgres
  beforeAll(async () => {
    server = await startPostgres({
      major,
      settings: { max_wal_senders: 4 },
      sql: ['create table kept as select n, md5(n::text) from generate_series(1, 10000) n'],
    })
  }, START_MS)
  afterAll(() => server?.stop('immediate'))

  test('tells who it is', async () => {
    using connection = await connect(server)
    expect(connection.serverMajor).toBe(major)
    const system = await connection.identifySystem()
    const [row] = await server.query('select system_identifier::text from pg_control_system()')
    expect(system.systemId).toBe(String(row![0]))
    expect(system.timeline).toBe(1)
    expect(system.xlogPos).toBeGreaterThan(0x1000000n)
    expect(system.dbname).toBeUndefined()
    expect(await connection.show('wal_level')).toBe('replica')
  })

  test('an error leaves the connection usable', async () => {
    using connection = await connect(server)
    expect(await failureOf(connection.timelineHistory(7))).toBeInstanceOf(ServerError)
    expect(await failureOf(connection.show('no_such'))).toMatchObject({ sqlstate: '42704' })
    expect(await connection.show('wal_level')).toBe('replica')
  })

  test('backs up what its manifest says, with every tablespace', async () => {
    const space = join(server.socketDir, 'space')
    mkdirSync(space)
    if (server.runAs.drop) chownSync(space, server.runAs.uid, server.runAs.gid)
    await server.query(`create tablespace extra location '${space}'`)
    await server.query('create table outside tablespace extra as select 1')
    using connection = await connect(server)
    using restored = await restore(
      connection.baseBackup({ progress: true, tablespaceMap: true }),
      server,
    )
    const [start, ...others] = restored.events
    const oid = Number(
      (await server.query("select oid from pg_tablespace where spcname='extra'"))[0]![0],
    )
    expect(start).toMatchObject({
      kind: 'start',
      timeline: 1,
      tablespaces: [{ oid, location: space }],
    })
    const steps = others.filter((event) => event.kind !== 'progress')
    expect(steps).toEqual([
      { kind: 'archive', name: `${oid}.tar`, location: space },
      { kind: 'archive', name: 'base.tar', location: '' },
      { kind: 'manifest' },
      { kind: 'end', lsn: expect.any(BigInt), timeline: 1 },
    ])
    expect(others.some((event) => event.kind === 'progress')).toBe(major >= 15)
    expect(mismatches(restored)).toEqual([])
    await connection.identifySystem() // the connection is still of use
    await server.query('drop table outside')
    await server.query('drop tablespace extra')
  }, 30_000)

  test('its backup runs, and a promotion is told as history and at the end of a stream', async () => {
    using connection = await connect(server)
    using restored = await restore(connection.baseBackup(), server)
    expect(mismatches(restored)).toEqual([])
    writeFileSync(join(restored.base, 'standby.signal'), '')
    await using standby = await startPostgres({
      major,
      dataDir: restored.base,
      settings: { wal_keep_size: '256MB' }, // else the old timeline's WAL goes with the promotion
    })
    expect(await standby.query('select count(*)::int from kept where n > 0')).toEqual([[10000]])
    await standby.query('select pg_promote()')
    using promoted = await connect(standby)
    const { timeline } = await promoted.identifySystem()
    expect(timeline).toBe(2)

    const { filename, content } = await promoted.timelineHistory(2)
    expect(filename).toBe('00000002.history')
    const history = parseTimelineHistory(content)
    const fork = forkPointOf(history, 1)!
    expect(history).toEqual([{ timeline: 1, switchLsn: fork, reason: expect.any(String) }])

    const begin = restored.events[0] as { lsn: bigint }
    const old = await promoted.startReplication({ lsn: begin.lsn & ~0xffffffn, timeline: 1 })
    let end = 0n
    for await (const message of old) {
      if (message.kind === 'xlogData') end = message.startLsn + BigInt(message.bytes.length)
    }
    expect(end).toBe(fork)
    expect(old.next).toEqual({ timeline: 2, startLsn: fork })

    const over = await promoted.startReplication({ lsn: fork, timeline: 1 })
    for await (const message of over) expect(message).toBeUndefined()
    expect(over.next).toEqual({ timeline: 2, startLsn: fork })
  }, 60_000)

  test('streams WAL and hears how far we are', async () => {
    using connection = await connect(server)
    const { xlogPos } = await connection.identifySystem()
    const stream = await connection.startReplication({ lsn: xlogPos & ~0xffffffn })
    await server.query('insert into kept values (0)')
    const [row] = await server.query('select pg_current_wal_flush_lsn()::text')
    const flushed = parseLsn(String(row![0]))
    let end = 0n
    for await (const message of stream) {
      if (message.kind === 'xlogData') end = message.startLsn + BigInt(message.bytes.length)
      await stream.sendStatus({ writtenLsn: end, flushedLsn: end, appliedLsn: end })
      if (end >= flushed) await stream.stop()
    }
    expect(end).toBeGreaterThanOrEqual(flushed)
    expect(stream.next).toBeUndefined()
    expect(await connection.show('wal_level')).toBe('replica')
  })

  test('a stream from WAL it does not have is refused, and the connection stays', async () => {
    using connection = await connect(server)
    const future = await connection.startReplication({ lsn: 0xff_0000_0000n })
    expect(await failureOf(Array.fromAsync(future))).toBeInstanceOf(ServerError)
    const noSlot = connection.startReplication({ slot: 'none', lsn: 0n })
    expect(await failureOf(noSlot)).toMatchObject({ sqlstate: '42704' })
    await connection.identifySystem()
  })
})

describe('a backup under way', () => {
  let server: TestPostgres
  const walsenders = async (waiting: string) => {
    const where = `backend_type = 'walsender' and ${waiting}`
    const rows = await server.query(`select count(*)::int from pg_stat_activity where ${where}`)
    return Number(rows[0]![0])
  }
  beforeAll(async () => {
    server = await startPostgres({
      sql: [
        'create table big as select n, repeat(md5(n::text), 30) from generate_series(1, 60000) n',
      ],
    })
  }, START_MS)
  afterAll(() => server?.stop('immediate'))

  test('waits for a reader that does not come, in bounded memory', async () => {
    using connection = await connect(server)
    const backup = connection.baseBackup()
    let bytes = 0
    let waited = false
    for await (const event of backup) {
      if (event.kind !== 'data') continue
      bytes += event.bytes.length
      if (waited || bytes < 1_000_000) continue
      waited = true
      const before = process.memoryUsage.rss()
      await until(async () => (await walsenders("wait_event = 'ClientWrite'")) === 1, {
        what: 'the server waits for its reader',
      })
      expect(process.memoryUsage.rss() - before).toBeLessThan(16 * 2 ** 20)
    }
    expect(bytes).toBeGreaterThan(60_000_000)
  }, 60_000)

  test('ends on the server when it is left', async () => {
    using connection = await connect(server)
    for await (const event of connection.baseBackup()) if (event.kind === 'data') break
    await until(async () => (await walsenders('true')) === 0)
    expect((await failureOf(connection.identifySystem())).message).toContain(
      'the base backup was left',
    )
  }, 20_000)

  test('ends on the server when its signal is aborted', async () => {
    using connection = await connect(server)
    const abort = new AbortController()
    const run = async () => {
      for await (const event of connection.baseBackup({ signal: abort.signal })) {
        if (event.kind === 'data') abort.abort(new Error('enough'))
      }
    }
    expect((await failureOf(run())).message).toContain('enough')
    await until(async () => (await walsenders('true')) === 0)
  }, 20_000)

  test('says so when the server dies', async () => {
    using connection = await connect(server)
    const run = async () => {
      for await (const event of connection.baseBackup()) {
        if (event.kind !== 'data') continue
        await server.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'walsender'",
        )
      }
    }
    expect(await failureOf(run())).toMatchObject({ sqlstate: expect.stringMatching(/57P01|08006/) })
  }, 20_000)
})
