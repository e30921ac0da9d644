// Goal: a gateway's own socket shows and does what is of that gateway, the port that they share what
// is of all; what they share is counted once.
// Method: a cluster of one node with two gateways, each reached over its own unix socket, and both
// over the port.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { query } from '../../shared/pgwire/frontend.ts'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { Frontend, type Address } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { addressOf, Admin, Refused } from './admin.ts'

let cluster: Cluster
let sockets: Address[]
let admins: Admin[]

beforeAll(async () => {
  cluster = await startCluster({ poolers: 1, gateways: 2 })
  sockets = cluster.started.gateways.map(({ socket }) => ({ path: socket ?? '' }))
  admins = []
  for (const socket of sockets) admins.push(await Admin.connect(socket))
}, 120_000)

afterAll(async () => {
  for (const admin of admins ?? []) await admin[Symbol.asyncDispose]()
  await cluster?.[Symbol.asyncDispose]()
})

test('a backend of the other gateway is its own to show, and idle ones are of all', async () => {
  const [first, second] = admins as [Admin, Admin]
  await using mine = await Frontend.connect(sockets[0] as Address)
  await using theirs = await Frontend.connect(sockets[1] as Address)
  await mine.query('begin')
  await theirs.query('begin')
  const [pid] = await mine.row('select pg_backend_pid()')
  const pool = { database: 'postgres', user: 'postgres' }
  for (const admin of [first, second]) {
    const row = await admin.row('POOLS', pool)
    expect(row).toMatchObject({ cl_active: '1', sv_active: '1', sv_others: '1' })
  }
  const ids = async (admin: Admin): Promise<unknown[]> => {
    const clients = await admin.show('CLIENTS')
    return clients.filter(({ database }) => database === 'postgres').map(({ id }) => id)
  }
  expect(await ids(first)).toEqual([String(mine.processId)])
  expect(await ids(second)).toEqual([String(theirs.processId)])
  const pids = async (admin: Admin): Promise<unknown[]> => {
    return (await admin.show('SERVERS')).map((row) => row['remote_pid'])
  }
  expect(await pids(first)).toContain(pid as string)
  expect(await pids(second)).not.toContain(pid as string)
})

test('each gateway names all, and the others are its peers', async () => {
  for (const [index, admin] of admins.entries()) {
    const gateways = await admin.show('GATEWAYS')
    const own = cluster.started.gateways[index]?.id ?? ''
    expect(
      gateways.map(({ gateway }) => gateway ?? '').toSorted((a, b) => (a < b ? -1 : 1)),
    ).toEqual(cluster.started.gateways.map(({ id }) => id))
    expect(gateways.find(({ self }) => self === 'yes')?.['gateway']).toBe(own)
    expect(await admin.show('PEERS')).toHaveLength(1)
  }
})

test('a pause of one gateway leaves the other alone', async () => {
  const [first] = admins as [Admin, Admin]
  await using theirs = await Frontend.connect(sockets[1] as Address)
  await first.run('PAUSE')
  expect(await theirs.query('select 1')).toContain('CommandComplete SELECT 1')
  await first.run('RESUME')
})

test('a cancel request for the console reaches it through any gateway', async () => {
  await using holder = await Frontend.connect(sockets[0] as Address)
  await holder.query('begin')
  await using pausing = await Admin.connect(sockets[0] as Address)
  const pause = pausing.run('PAUSE').catch((error: unknown) => error)
  await until(async () => {
    const [first] = admins as [Admin, Admin]
    return (await first.row('STATE', { key: 'paused' }))['value'] === 'yes'
  })
  await using through = await Frontend.connect(sockets[1] as Address)
  const { processId, cancelKey: key } = pausing.frontend
  await through.cancel({ processId, key })
  expect(await pause).toMatchObject({ code: '57014' })
})

async function refusal(admin: Admin, text: string): Promise<string> {
  const error: unknown = await admin.run(text).catch((refused: unknown) => refused)
  return error instanceof Refused ? error.code : `not refused: ${Bun.inspect(error)}`
}

describe('by the port that they share', () => {
  let all: Admin
  beforeAll(async () => {
    all = await Admin.connect(addressOf(cluster.url))
  })
  afterAll(() => all[Symbol.asyncDispose]())

  test('clients of both are shown, with backends, pools and pins', async () => {
    await using mine = await Frontend.connect(sockets[0] as Address)
    await using theirs = await Frontend.connect(sockets[1] as Address)
    await mine.query('begin')
    await theirs.query('create temp table held (a int)')
    const clients = (await all.show('CLIENTS')).filter(({ database }) => database === 'postgres')
    const ids = cluster.started.gateways.map(({ id }) => id)
    expect(new Map(clients.map(({ id, gateway }) => [Number(id), gateway]))).toEqual(
      new Map([
        [mine.processId, ids[0] as string],
        [theirs.processId, ids[1] as string],
      ]),
    )
    const pool = await all.row('POOLS', { database: 'postgres', user: 'postgres' })
    expect(pool).toMatchObject({ cl_active: '2', sv_active: '2', sv_others: '0', sv_pinned: '1' })
    const pins = (await all.show('PINS')).map(({ gateway, pins: why }) => [gateway, why])
    expect(new Map(pins as [string, string][])).toEqual(
      new Map([
        [ids[0] as string, 'transaction'],
        [ids[1] as string, 'temp objects'],
      ]),
    )
    const [pid] = await theirs.row('select pg_backend_pid()')
    expect((await all.show('SERVERS')).map((row) => row['remote_pid'])).toContain(pid as string)
    const admin = { database: 'multigres', user: 'multigres' }
    expect((await all.row('POOLS', admin))['cl_active']).toBe('3')
    const consoles = (await all.show('CLIENTS')).filter(({ database }) => database === 'multigres')
    expect(new Set(consoles.map(({ gateway }) => gateway)).size).toBe(2)
  })

  test('traffic of both is one', async () => {
    const count = async (admin: Admin): Promise<number> =>
      Number((await admin.row('STATS_TOTALS', { database: 'postgres' }))['query_count'])
    for (const socket of sockets) {
      await using client = await Frontend.connect(socket)
      await client.query('select 1')
    }
    const [first, second] = admins as [Admin, Admin]
    const counts = [await count(first), await count(second)]
    expect(counts.every((one) => one > 0)).toBe(true)
    expect(await count(all)).toBe((counts[0] ?? 0) + (counts[1] ?? 0))
    const total = await all.row('TOTALS', { name: 'total_query_count' })
    expect(Number(total['value'])).toBe(await count(all))
  })

  test('PAUSE holds work of both, RESUME lets it go, and neither is done twice', async () => {
    await using mine = await Frontend.connect(sockets[0] as Address)
    await using theirs = await Frontend.connect(sockets[1] as Address)
    await all.run('PAUSE')
    for (const client of [mine, theirs]) client.send(query('select 1'))
    for (const admin of admins) {
      await until(async () => (await admin.row('SHARDS', {}))['waiting'] === '1')
    }
    expect(await refusal(all, 'PAUSE')).toBe('55000')
    expect((await all.run('RESUME')).tag).toBe('RESUME')
    for (const client of [mine, theirs]) {
      expect(await client.untilReadyForQuery()).toContain('CommandComplete SELECT 1')
    }
    expect(await refusal(all, 'RESUME')).toBe('55000')
  })

  test('a PAUSE that is cancelled is taken back at both', async () => {
    await using holder = await Frontend.connect(sockets[1] as Address)
    await holder.query('begin')
    await using pausing = await Admin.connect(addressOf(cluster.url))
    const pause = pausing.run('PAUSE').catch((error: unknown) => error)
    for (const admin of admins) {
      await until(async () => (await admin.row('STATE', { key: 'paused' }))['value'] === 'yes')
    }
    const { processId, cancelKey: key } = pausing.frontend
    await holder.cancel({ processId, key })
    expect(await pause).toMatchObject({ code: '57014' })
    for (const admin of admins) {
      await until(async () => (await admin.row('STATE', { key: 'paused' }))['value'] === 'no')
    }
  })

  test('KILL_CLIENT finds the client wherever it is, and says when it is nowhere', async () => {
    for (const socket of sockets) {
      await using victim = await Frontend.connect(socket)
      await all.run(`KILL_CLIENT ${victim.processId}`)
      expect((await victim.untilClosed()).join()).toContain('57P01')
    }
    expect(await refusal(all, 'KILL_CLIENT 1')).toBe('42704')
  })

  test('DISABLE, ENABLE and SET are of both', async () => {
    await all.run('DISABLE postgres')
    for (const socket of sockets) {
      const refused: unknown = await Frontend.connect(socket).catch((error: unknown) => error)
      expect(String(refused)).toContain('is disabled')
    }
    await all.run('ENABLE postgres')
    for (const socket of sockets) await (await Frontend.connect(socket))[Symbol.asyncDispose]()
    await all.run('SET pause_timeout = 7s')
    for (const admin of admins) {
      expect((await admin.row('CONFIG', { key: 'pause_timeout' }))['value']).toBe('7s')
    }
    expect(await refusal(all, 'SET no_such_setting = 1')).toBe('42704')
  })
})

test('a running statement is cancelled through the port, whichever gateway has it', async () => {
  await using first = await Frontend.connect(sockets[0] as Address)
  await using second = await Frontend.connect(sockets[1] as Address)
  for (const [index, victim] of [first, second].entries()) {
    victim.send(query('select pg_sleep(60)'))
    await until(async () => {
      const pool = { database: 'postgres', user: 'postgres' }
      return (await (admins[index] as Admin).row('POOLS', pool))['sv_active'] === '1'
    })
    // Whom the kernel gives the connection to differs: several leave no gateway out.
    for (let i = 0; i < 4; i += 1) {
      await using through = await Frontend.open(addressOf(cluster.url))
      const { processId, cancelKey: key } = victim
      await through.cancel({ processId, key })
    }
    expect((await victim.untilReadyForQuery()).join()).toContain('57014')
  }
})
