// What ends a session that listens, and what does not: a lost connection, a leader that serves no
// more, a client that does not read, a database that is dropped.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { SERVING } from '../pooler/harness.ts'
import { startHarness, type Harness } from '../gateway/harness.ts'
import { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'

const QUEUE_BYTES = 64 * 1024

let harness: Harness

beforeAll(async () => {
  harness = await startHarness({ pooler: { poolSize: 2, listenQueueBytes: QUEUE_BYTES } })
})
afterAll(() => harness[Symbol.asyncDispose]())

const connect = (database = 'postgres') => harness.connect('gateway', { database })
const LISTENER = `select pg_terminate_backend(pid) from pg_stat_activity
  where application_name = 'multigres_listener' and datname = current_database()`
const MISSED = 'terminating connection: notifications may have been missed'

describe('a lost window closes the client', () => {
  test('when the shared connection is terminated', async () => {
    await using listener = await connect()
    await using other = await connect()
    await listener.query('listen lost')
    await other.query(LISTENER)
    expect(await listener.untilClosed()).toEqual(['ErrorResponse FATAL 57P01'])
    expect(listener.errors[0]?.message).toBe(MISSED)
    // Who never listened goes on, and may listen.
    await other.query('listen lost')
    expect(await other.query('notify lost')).toContain('NotificationResponse lost')
  })

  test('in the middle of a transaction', async () => {
    await using listener = await connect()
    await using other = await connect()
    await listener.query('listen lost')
    await listener.query('begin')
    await other.query(LISTENER)
    expect(await listener.untilClosed()).toEqual(['ErrorResponse FATAL 57P01'])
  })

  test('when the link breaks', async () => {
    await using listener = await connect()
    await listener.query('listen lost')
    for (const link of harness.pooler.server.executor.links) link.connection.close()
    expect(await listener.untilClosed()).toEqual(['ErrorResponse FATAL 57P01'])
    expect(listener.errors[0]?.message).toBe(MISSED)
    await until(() => harness.gateway.router.leader !== undefined)
  })

  test('when its node serves no more', async () => {
    await using listener = await connect()
    await listener.query('listen lost')
    harness.pooler.serving.set({ ...SERVING, serving: false, reason: 'another leads' })
    expect(await listener.untilClosed()).toEqual(['ErrorResponse FATAL 57P01'])
    harness.pooler.serving.set(SERVING)
    await until(() => harness.gateway.router.leader !== undefined)
  })

  test('not when its pooled backend is', async () => {
    await using listener = await connect()
    await using other = await connect()
    await listener.query('listen kept')
    await listener.query('select 1')
    await other.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()
       and backend_type = 'client backend' and application_name not like 'multigres%'`,
    )
    await other.query("notify kept, 'still'")
    expect(await listener.until('Notif')).toEqual(['NotificationResponse kept still'])
  })
})

describe('a listener that does not keep up', () => {
  test('in a transaction is closed at the limit, and stalls nobody', async () => {
    await using slow = await connect()
    await using quick = await connect()
    await using notifier = await connect()
    await slow.query('listen many')
    await quick.query('listen many')
    await slow.query('begin')
    const payload = 'x'.repeat(4000)
    for (let at = 0; at < 20; at++) await notifier.query(`notify many, '${at} ${payload}'`)
    expect(await slow.untilClosed()).toEqual(['ErrorResponse FATAL 54000'])
    expect(await quick.until('NotificationResponse many 19')).toHaveLength(20)
  })

  test('that reads nothing is closed at the limit, and stalls nobody', async () => {
    await using slow = await connect()
    await using quick = await connect()
    await using notifier = await connect()
    await slow.query('listen flood')
    await quick.query('listen flood')
    const { listeners } = harness.pooler.server.executor
    slow.pause()
    const text = `select count(pg_notify('flood', n || repeat('x', 7000)))
      from generate_series(1, 8) n`
    let heard = 0
    for (let round = 0; round < 2000 && listeners.sessions === 2; round++) {
      await notifier.query(text)
      heard += (await quick.until('NotificationResponse flood 8x')).length
    }
    expect(listeners.sessions).toBe(1)
    expect(heard % 8).toBe(0)
    slow.resume()
    await slow.untilClosed()
  })
})

describe('DROP DATABASE', () => {
  test('succeeds where nobody listens any more, and fails as Postgres while somebody does', async () => {
    await using admin = await connect()
    await admin.query('create database listened')
    const listener = await connect('listened')
    await listener.query('listen here')
    expect((await admin.query('drop database listened'))[0]).toContain('55006')
    await listener.query('unlisten *')
    await listener[Symbol.asyncDispose]()
    expect(await admin.query('drop database listened')).toContain('CommandComplete DROP DATABASE')
  }, 20_000)
})

test('what nobody hears is given up, and an unused connection is closed', async () => {
  const { listeners } = harness.pooler.server.executor
  const listener = await connect()
  await listener.query('listen once')
  await listener[Symbol.asyncDispose]()
  await until(() => listeners.sessions === 0)
  await using other = await connect()
  const [count] = await other.row(
    "select count(*) from pg_stat_activity where application_name = 'multigres_listener'",
  )
  expect(count).toBe('1')
  listeners.tick(harness.pooler.server.executor.nowMs + 3_600_000)
  await until(async () => {
    const [left] = await other.row(
      "select count(*) from pg_stat_activity where application_name = 'multigres_listener'",
    )
    return left === '0'
  })
})

describe('with listen_loss = notice it is told, and the session listens anew', () => {
  const NOTICE = 'NoticeResponse WARNING 01000'

  async function lost(lose: () => Promise<void> | void): Promise<void> {
    const gateway = await harness.anotherGateway({ listenLoss: 'notice' })
    await using listener = await Frontend.connect({ host: '127.0.0.1', port: gateway.port })
    for (const channel of ['one', '"Zw\u00f6""lf"', 'gone'])
      await listener.query(`listen ${channel}`)
    await listener.query('unlisten gone')
    await lose()
    expect(await listener.until('NoticeResponse')).toEqual([NOTICE])
    await using other = await connect()
    for (const channel of ['one', '"Zw\u00f6""lf"', 'gone']) await other.query(`notify ${channel}`)
    const heard: string[] = []
    while (heard.length < 2) heard.push(...(await listener.until('NotificationResponse')))
    expect(heard).toEqual(['NotificationResponse one', 'NotificationResponse Zw\u00f6"lf'])
    expect(await listener.query('select 1')).toEqual(await other.query('select 1'))
  }

  test('when the shared connection is terminated', () =>
    lost(async () => {
      await using other = await connect()
      await other.query(LISTENER)
    }))

  test('when the link breaks', () =>
    lost(async () => {
      for (const link of harness.pooler.server.executor.links) link.connection.close()
      await until(() => harness.gateway.router.leader !== undefined)
    }))

  test('but in a transaction it is closed', async () => {
    const gateway = await harness.anotherGateway({ listenLoss: 'notice' })
    await using listener = await Frontend.connect({ host: '127.0.0.1', port: gateway.port })
    await listener.query('listen one')
    await listener.query('begin')
    await using other = await connect()
    await other.query(LISTENER)
    expect(await listener.untilClosed()).toEqual(['ErrorResponse FATAL 57P01'])
  })
})
