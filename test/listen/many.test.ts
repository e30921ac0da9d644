// Many who notify and many who listen, some of them both, on a pool of two: each listener hears
// each notification once, in one and the same order; and drivers' own ways of listening.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import pg from 'pg'
import postgres from 'postgres'
import { startHarness, VIAS, type Harness } from '../gateway/harness.ts'
import type { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'

const LISTENERS = 12
const NOTIFIERS = 6
const ROUNDS = 40

let harness: Harness

beforeAll(async () => {
  harness = await startHarness({ pooler: { poolSize: 2 } })
})
afterAll(() => harness[Symbol.asyncDispose]())

const notificationsOf = (lines: readonly string[]) =>
  lines.filter((line) => line.startsWith('Notif'))

/** Lines of `listener` up to the end of it all; some of it by polling, some in transactions. */
async function listen(listener: Frontend, number: number): Promise<string[]> {
  const lines: string[] = []
  for (let round = 0; round < ROUNDS / 4; round++) {
    if (number % 3 === 0) lines.push(...(await listener.query('select pg_sleep(0.001)')))
    if (number % 3 === 1) {
      lines.push(...(await listener.query('begin'))) // what came before it
      expect(notificationsOf(await listener.query('select pg_sleep(0.002)'))).toEqual([])
      lines.push(...(await listener.query(round % 2 === 0 ? 'commit' : 'rollback')))
    }
    if (number % 4 === 0) lines.push(...(await listener.query(`notify a, 'L${number}.${round}'`)))
  }
  lines.push(...(await listener.query('select 1')))
  return notificationsOf(lines)
}

describe.each(VIAS)('via %s', (via) => {
  test('each hears all once, in one order', async () => {
    const login = { parameters: { application_name: 'many' } }
    const sessions = (count: number) =>
      Promise.all(Array.from({ length: count }, () => harness.connect(via, login)))
    const listeners = await sessions(LISTENERS)
    const notifiers = await sessions(NOTIFIERS)
    for (const listener of listeners) {
      await listener.query('listen a')
      await listener.query('listen b')
    }
    const heard = listeners.map((listener, number) => listen(listener, number))
    await Promise.all(
      notifiers.map(async (notifier, number) => {
        for (let round = 0; round < ROUNDS; round++) {
          const text = `notify a, '${number}.${round}'; notify b, '${number}.${round}'`
          await notifier.query(round % 5 === 4 ? `begin; ${text}; rollback` : text)
        }
      }),
    )
    const early = await Promise.all(heard)
    await notifiers[0]?.query("notify b, 'end'")
    const all = await Promise.all(
      listeners.map(async (listener, number) => [
        ...(early[number] ?? []),
        ...(await listener.until('NotificationResponse b end')),
      ]),
    )
    const own = Math.ceil(LISTENERS / 4) * (ROUNDS / 4)
    const told = all[0] ?? []
    expect(told).toHaveLength(2 * NOTIFIERS * ROUNDS * 0.8 + own + 1)
    expect(new Set(told).size).toBe(told.length)
    for (const lines of all) expect(lines).toEqual(told)
    for (const session of [...listeners, ...notifiers]) await session[Symbol.asyncDispose]()
  }, 30_000)

  test('postgres.js listens on a connection of its own', async () => {
    const sql = postgres({ ...login(via), max: 1 })
    const heard: string[] = []
    const listening = await sql.listen('Js Channel', (payload) => heard.push(payload))
    for (let at = 0; at < 10; at++) await sql.notify('Js Channel', `${at}`)
    await until(() => heard.length === 10)
    expect(heard).toEqual(Array.from({ length: 10 }, (_, at) => `${at}`))
    if (via === 'gateway') expect(harness.pooler.server.executor.listeners.sessions).toBe(1)
    await listening.unlisten()
    await sql.end()
  })

  test('node-postgres hears its own and others’ with their process ids', async () => {
    const client = new pg.Client(login(via))
    const other = new pg.Client(login(via))
    await client.connect()
    await other.connect()
    const heard: pg.Notification[] = []
    client.on('notification', (message) => heard.push(message))
    await client.query('LISTEN node_channel')
    await client.query("NOTIFY node_channel, 'own'")
    expect(heard.map(({ payload }) => payload)).toEqual(['own'])
    await other.query("select pg_notify('node_channel', $1)", ['other'])
    await until(() => heard.length === 2)
    const pids = [client, other].map((of) => (of as unknown as { processID: number }).processID)
    expect(heard.map(({ processId }) => processId)).toEqual(pids)
    await client.end()
    await other.end()
  })
})

function login(via: (typeof VIAS)[number]) {
  const { host, port } = harness.address(via) as { host: string; port: number }
  return { host, port, user: 'postgres', password: 'postgres', database: 'postgres' }
}
