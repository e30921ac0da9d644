// Goal: several gateways behind one port are one system: clients spread over all, each has a link of
// its own, and one that dies takes only its own clients with it.
// Method: a cluster of one node with two gateways, many connections to the port, and kill -9.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { Frontend, type Address } from '../support/frontend.ts'
import { until } from '../support/until.ts'

/** The kernel spreads them by a hash: that all come to one happens once in 2^39 runs. */
const CLIENTS = 40
const TEST_MS = 60_000

let cluster: Cluster
let port: Address
beforeAll(async () => {
  cluster = await startCluster({ poolers: 1, gateways: 2 })
  port = { host: '127.0.0.1', port: Number(new URL(cluster.url).port) }
}, 120_000)
afterAll(() => cluster?.[Symbol.asyncDispose](), 60_000)

/** Whose client it is: a gateway numbers its sessions in a range of its own. */
const rangeOf = ({ processId }: Frontend): number => processId >>> 18

async function connectMany(): Promise<Frontend[]> {
  const clients: Frontend[] = []
  for (let i = 0; i < CLIENTS; i += 1) clients.push(await Frontend.connect(port))
  return clients
}

async function disposeAll(clients: readonly Frontend[]): Promise<void> {
  for (const client of clients) await client[Symbol.asyncDispose]()
}

test('start and status name every gateway, all with one port', async () => {
  const { gateways } = await cluster.status()
  expect(gateways.map(({ id }) => id)).toEqual(cluster.started.gateways.map(({ id }) => id))
  expect(gateways).toHaveLength(2)
  expect(new Set(gateways.map(({ pid }) => pid)).size).toBe(2)
  expect(new Set(gateways.map(({ url }) => url)).size).toBe(1)
  expect(new Set(gateways.map(({ socket }) => socket)).size).toBe(2)
})

test(
  'clients of the port spread over both, and each has a link of its own',
  async () => {
    const clients = await connectMany()
    expect(new Set(clients.map(rangeOf)).size).toBe(2)
    const { http } = (await cluster.status()).shards[0]?.poolers[0] ?? {}
    const links = (await (await fetch(`${http}/debug/links`)).json()) as { gateway: string }[]
    const names = links.map(({ gateway }) => gateway).toSorted((a, b) => (a < b ? -1 : 1))
    expect(names).toEqual(cluster.started.gateways.map(({ id }) => id))
    await disposeAll(clients)
  },
  TEST_MS,
)

test(
  'one that is killed takes its own clients with it, and comes back behind the same port',
  async () => {
    const clients = await connectMany()
    const victim = rangeOf(clients[0] as Frontend)
    const pid = await pidOfRange(victim)
    process.kill(pid, 'SIGKILL')
    for (const client of clients) {
      if (rangeOf(client) === victim) await client.untilClosed()
      else expect(await client.query('select 1')).toContain('CommandComplete SELECT 1')
    }
    // Whoever comes now is served at every try: by the other, or by this one's successor.
    const others = await connectMany()
    for (const client of others) {
      expect(await client.query('select 1')).toContain('CommandComplete SELECT 1')
    }
    await disposeAll([...clients, ...others])
    await until(async () => {
      const now = (await cluster.status()).gateways.flatMap((gateway) => gateway.pid ?? [])
      return now.length === 2 && !now.includes(pid)
    }, 20_000)
    await until(async () => {
      const again = await connectMany()
      const ranges = new Set(again.map(rangeOf))
      await disposeAll(again)
      return ranges.size === 2 && ranges.has(victim)
    }, 30_000)
  },
  TEST_MS,
)

/** Each answers on its own socket too: that tells whose range is whose. */
async function pidOfRange(range: number): Promise<number> {
  for (const { socket, pid } of (await cluster.status()).gateways) {
    await using client = await Frontend.connect({ path: socket })
    if (rangeOf(client) === range && pid !== null) return pid
  }
  throw new Error(`no gateway has the range ${range}`)
}
