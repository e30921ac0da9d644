// Goal: behind several gateways each shows its own clients, and what they share is counted once.
// Method: a cluster of one node with two gateways, each reached over its own unix socket.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { Frontend, type Address } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { Admin } from './admin.ts'

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
