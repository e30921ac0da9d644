// Goal: a replication connection disturbs nobody, ends when its leader does, and is refused as by
// Postgres.
// Method: a real server behind pooler and gateway; clients of our own that read nothing, cancel, or
// call themselves like a member of the cluster.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import * as messages from '../../shared/pgwire/frontend.ts'
import { startHarness, VIAS, type Harness, type Via } from '../gateway/harness.ts'
import { SERVING } from '../pooler/harness.ts'
import { Frontend, StartupError, type LoginOptions } from '../support/frontend.ts'
import { until } from '../support/until.ts'

const REPLICATION_MAX = 4
let harness: Harness

beforeAll(async () => {
  harness = await startHarness({
    pooler: { replicationMax: REPLICATION_MAX },
    postgres: {
      settings: { wal_level: 'logical', max_wal_senders: 20, wal_sender_timeout: '60s' },
      sql: [
        "create role copier replication login password 'postgres'",
        "create role plain login password 'postgres'",
        "create role named replication login password 'postgres'",
        `alter role named set application_name = 'Zone1_Pooler1'`,
        // 40 MB for a base backup.
        'create table bulk (t text); alter table bulk alter t set storage external',
        'insert into bulk select repeat(md5(n::text), 32) from generate_series(1, 40000) n',
      ],
    },
  })
}, 60_000)

afterAll(() => harness[Symbol.asyncDispose]())

type Mode = 'database' | 'true'
const options = (replication: Mode, more: LoginOptions = {}): LoginOptions => ({
  user: 'copier',
  ...more,
  parameters: { replication, ...more.parameters },
})
const connect = (via: Via, mode: Mode, more?: LoginOptions) =>
  harness.connect(via, options(mode, more))

const streams = (): number =>
  [...harness.pooler.server.executor.links].reduce((sum, link) => sum + link.replication.size, 0)
const gone = () => until(() => streams() === 0 && harness.gateway.replications.size === 0)
beforeEach(gone) // what the test before had would count towards the cap

async function refusal(connecting: Promise<Frontend>): Promise<string> {
  try {
    await using _ = await connecting
    return 'in'
  } catch (error) {
    if (!(error instanceof StartupError)) throw error
    const { severity, code, message, detail } = error.fields
    return [severity, code, message, detail].join(' | ')
  }
}

/** From where the server is: what came before may be gone, or be on its way for long. */
async function stream(frontend: Frontend): Promise<void> {
  const [, row] = await frontend.query('IDENTIFY_SYSTEM')
  const [, timeline, position] = row?.replace('DataRow ', '').split(',') ?? []
  frontend.send(messages.query(`START_REPLICATION PHYSICAL ${position} TIMELINE ${timeline}`))
  await frontend.until('CopyBothResponse')
}

describe('as at Postgres', () => {
  /** What both say to the same. */
  async function same(ask: (via: Via) => Promise<unknown>): Promise<unknown> {
    const [direct, ours] = await Promise.all(VIAS.map(ask))
    expect(ours).toEqual(direct)
    return ours
  }

  test('a role without the right is refused', async () => {
    for (const mode of ['true', 'database'] as const) {
      const said = await same((via) => refusal(connect(via, mode, { user: 'plain' })))
      expect(said).toContain('42501 | permission denied to start WAL sender')
    }
  })

  test('an unknown database, a wrong password and a bad option are refused', async () => {
    const cases: [Mode, LoginOptions][] = [
      ['database', { database: 'nowhere' }],
      ['true', { database: 'nowhere' }],
      ['true', { password: 'wrong' }],
      ['database', { parameters: { work_mem: 'x' } }],
      ['true', { parameters: { nonsense: 'x' } }],
    ]
    for (const [mode, more] of cases) await same((via) => refusal(connect(via, mode, more)))
  })

  test('commands, SQL and errors are answered alike', async () => {
    const texts = [
      'IDENTIFY_SYSTEM',
      'SHOW server_version',
      'select 1, 2; select 3',
      'READ_REPLICATION_SLOT nothing',
      'START_REPLICATION SLOT nothing LOGICAL 0/0',
      'nonsense',
      'TIMELINE_HISTORY 1',
      'CREATE_REPLICATION_SLOT of_VIA TEMPORARY PHYSICAL',
    ]
    for (const mode of ['true', 'database'] as const) {
      await same(async (via) => {
        await using frontend = await connect(via, mode)
        const lines: string[][] = []
        for (const text of texts) {
          frontend.send(messages.query(text.replace('VIA', via)))
          lines.push(await frontend.untilReadyForQuery())
        }
        return lines.map((answer) =>
          answer.map((line) => line.replace(/0\/[0-9A-F]+/g, 'LSN').replace(`of_${via}`, 'of_VIA')),
        )
      })
    }
    await gone()
  })

  test('the extended protocol is refused in a walsender', async () => {
    await same(async (via) => {
      await using frontend = await connect(via, 'database')
      frontend.send(messages.parse('select 1'), messages.sync())
      return await frontend.untilReadyForQuery()
    })
  })

  test('a client that leaves frees its slot at once', async () => {
    await same(async (via) => {
      const name = `slot_${via}`
      const first = await connect(via, 'true')
      await first.query(`CREATE_REPLICATION_SLOT ${name} PHYSICAL RESERVE_WAL`)
      first.send(messages.query(`START_REPLICATION SLOT ${name} PHYSICAL 0/1000000`))
      await first.until('CopyBothResponse')
      first.destroy()
      await using second = await connect(via, 'true')
      const dropped = async () =>
        (await second.query(`DROP_REPLICATION_SLOT ${name}`)).includes('ReadyForQuery idle') &&
        second.errors.length === 0
      return await until(async () => {
        second.errors.length = 0
        return await dropped()
      })
    })
  })
})

test('a cancel request ends what the walsender does, and it takes the next command', async () => {
  await using frontend = await connect('gateway', 'true')
  await stream(frontend)
  await frontend.cancel()
  const lines = await frontend.untilReadyForQuery()
  expect(lines.at(-2)).toBe('ErrorResponse ERROR 57014')
  expect((await frontend.query('IDENTIFY_SYSTEM')).length).toBe(4)
})

test('one that does not read stops its own walsender, and nobody else', async () => {
  await using slow = await connect('gateway', 'true')
  slow.pause()
  slow.send(messages.query("BASE_BACKUP (LABEL 'slow', CHECKPOINT 'fast', MANIFEST 'no')"))
  const view = () => harness.gateway.replications.values()[0]?.describe()
  await until(() => Number(view()?.['output_bytes']) > 0, 20_000)
  await using other = await harness.connect('gateway')
  await using second = await connect('gateway', 'true')
  const before = Bun.nanoseconds()
  for (let turn = 0; turn < 200; turn++) await other.query('select 1')
  expect((await second.query('IDENTIFY_SYSTEM')).length).toBe(4)
  expect((Bun.nanoseconds() - before) / 1e6).toBeLessThan(5000)
  // Both sides hold a window of it, no more, of 40 MB.
  const kept = [...harness.pooler.server.executor.links]
    .flatMap((link) => [...link.replication.values()])
    .reduce((sum, stream) => sum + Number(stream.describe()['pending_bytes']), 0)
  expect(Number(view()?.['output_bytes'])).toBeLessThanOrEqual(256 * 1024)
  expect(kept).toBeLessThanOrEqual(1024 * 1024)
  slow.resume()
  const lines = await slow.untilReadyForQuery()
  expect(lines.filter((line) => line.startsWith('CopyData')).length).toBeGreaterThan(1000)
  expect(lines.at(-2)).toBe('CommandComplete BASE_BACKUP')
}, 60_000)

test('past its cap the next is refused with 53300, and sessions are not', async () => {
  await gone()
  const all = await Promise.all(
    Array.from({ length: REPLICATION_MAX }, () => connect('gateway', 'true')),
  )
  const said = await refusal(connect('gateway', 'database'))
  expect(said).toContain('FATAL | 53300 | too many replication connections on this pooler')
  await using session = await harness.connect('gateway')
  expect(await session.row('select 1')).toEqual(['1'])
  for (const frontend of all) await frontend[Symbol.asyncDispose]()
  await gone()
  await using _ = await connect('gateway', 'true')
})

describe('a member’s name', () => {
  const member = () => harness.pooler.config.id

  test('is not for a client, whatever its case', async () => {
    const parameters = { application_name: member().toUpperCase() }
    const said = await refusal(connect('gateway', 'true', { parameters }))
    expect(said).toContain('FATAL | 0A000 | application_name cannot be')
    await gone()
    await using _ = await connect('gateway', 'true', { parameters: { application_name: 'mine' } })
  })

  test('is not to be had by ALTER ROLE either', async () => {
    expect(member()).toBe('zone1_pooler1')
    const said = await refusal(connect('gateway', 'database', { user: 'named' }))
    expect(said).toContain('FATAL | 0A000 | application_name cannot be "Zone1_Pooler1" here')
  })

  test('is not to be had by SET either', async () => {
    await using frontend = await connect('gateway', 'database')
    frontend.send(messages.query(`set application_name = '${member()}'`))
    const lines = await frontend.untilClosed()
    expect(lines.at(-1)).toBe('ErrorResponse FATAL 0A000')
  })
})

test('when the pooler leads no more its walsenders end with 57P01', async () => {
  await using idle = await connect('gateway', 'database')
  await using streaming = await connect('gateway', 'true')
  await stream(streaming)
  const state = { ...SERVING, serving: false, reason: 'another leads' }
  harness.pooler.serving.set(state)
  expect((await idle.untilClosed()).at(-1)).toBe('ErrorResponse FATAL 57P01')
  expect((await streaming.untilClosed()).at(-1)).toBe('ErrorResponse FATAL 57P01')
  expect(streaming.errors.at(-1)?.message).toBe('terminating connection: another leads')
  const count = async () => {
    const rows = await harness.pooler.postgres.query(
      'select count(*)::int from pg_stat_replication',
    )
    return rows[0]?.[0] === 0
  }
  await until(count)
  harness.pooler.serving.set(SERVING)
  await until(() => harness.gateway.router.leader !== undefined)
  await using _ = await connect('gateway', 'true')
})
