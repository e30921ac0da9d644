// Goal: gateways of several cells share one replica port; each reads from the follower of its own
// cell, and a cancel request that reaches another gateway finds its session.
// Method: a real cluster of two cells with a gateway and a follower in each.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { query } from '../../shared/pgwire/frontend.ts'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'

const CLIENTS = 8

let cluster: Cluster
beforeAll(async () => {
  cluster = await startCluster({ poolers: 3, gateways: 2, cells: 2, args: ['--replica-port=0'] })
}, 120_000)
afterAll(() => cluster?.[Symbol.asyncDispose](), 60_000)

type SessionView = { pooler: string; client: string }

async function view<T>(http: string, name: string): Promise<T[]> {
  return (await (await fetch(`${http}/debug/${name}`)).json()) as T[]
}

test('each gateway reads in its own cell, and a cancel finds its session at either', async () => {
  const { gateways } = cluster.started
  const [port] = gateways.map(({ replica_url }) => Number(new URL(replica_url ?? '').port))
  for (const { http } of gateways) {
    await until(async () => {
      const found = await view<{ why: string }>(http, 'followers')
      return found.filter(({ why }) => why === '').length === 2
    }, 20_000)
  }
  const clients: Frontend[] = []
  for (let at = 0; at < CLIENTS; at++) {
    clients.push(await Frontend.connect({ host: '127.0.0.1', port: port ?? 0 }))
  }
  const cellOf = (id: string): string => id.slice(0, id.indexOf('_'))
  let sessions = 0
  for (const { id, http } of gateways) {
    const found = await view<SessionView>(http, 'sessions')
    sessions += found.length
    for (const { pooler } of found) expect(cellOf(pooler)).toBe(cellOf(id))
  }
  expect(sessions).toBe(CLIENTS)
  for (const client of clients) {
    client.send(query('select pg_sleep(60)'))
    let answered = false
    const answer = client.untilReadyForQuery().finally(() => (answered = true))
    await until(async () => {
      if (!answered) await client.cancel() // it may come before the query is under way
      return answered
    })
    expect(await answer).toContain('ErrorResponse ERROR 57014')
  }
  for (const client of clients) await client[Symbol.asyncDispose]()
}, 60_000)
