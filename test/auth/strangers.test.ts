// Goal: who has not proven who they are takes nothing from those who have.
// Method: clients that stop in the middle of a login, or do not know the password, beside others.
import { expect, test } from 'bun:test'
import { startup } from '../../shared/pgwire/frontend.ts'
import { startHarness } from '../gateway/harness.ts'
import { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { refused } from './refused.ts'

const SQL = ["create role limited login password 'right' connection limit 1"]
const LIMITED = { user: 'limited', password: 'right' }

/** Somebody who has said the name, was asked for the password, and says nothing more. */
async function halfWay(address: { host: string; port: number }, user: string): Promise<Frontend> {
  const frontend = await Frontend.open(address)
  frontend.send(startup({ user, database: 'postgres' }))
  await frontend.until('AuthenticationSASL')
  return frontend
}

test('strangers use up no connection limit of a role, and no client’s place', async () => {
  await using harness = await startHarness({
    gateway: { clientsMax: 2, clientsPerUserMax: 1, clientsPerDatabaseMax: 1 },
    postgres: { sql: SQL },
  })
  const address = { host: '127.0.0.1', port: harness.gateway.port }
  await using _first = await halfWay(address, 'limited')
  await using _second = await halfWay(address, 'limited')
  await using _third = await halfWay(address, 'limited')
  const wrong = Frontend.connect(address, { ...LIMITED, password: 'wrong' })
  expect(await refused(wrong)).toContain('28P01')
  await using limited = await Frontend.connect(address, LIMITED)
  expect(await limited.row('select current_user')).toEqual(['limited'])
  const another = Frontend.connect(address, LIMITED)
  expect(await refused(another)).toContain('53300 too many connections for role "limited"')
})

test('a role’s limit holds for those who have proven who they are', async () => {
  await using harness = await startHarness({ postgres: { sql: SQL } })
  const address = { host: '127.0.0.1', port: harness.gateway.port }
  {
    await using _in = await Frontend.connect(address, LIMITED)
    const another = Frontend.connect(address, LIMITED)
    expect(await refused(another)).toContain('53300 too many connections for role "limited"')
  }
  await until(() => harness.gateway.sessions.size === 0)
  await using _again = await Frontend.connect(address, LIMITED)
})

test('strangers are bounded, in all and by address, and a place comes back', async () => {
  await using harness = await startHarness({
    gateway: { strangersMax: 4, strangersPerAddressMax: 2 },
  })
  const { gateway } = harness
  const address = { host: '127.0.0.1', port: gateway.port }
  const unix = { path: gateway.listeners.socketPath ?? '' }
  const tooMany = '53300 too many clients that have not logged in yet'
  {
    await using _first = await halfWay(address, 'postgres')
    await using _silent = await Frontend.open(address)
    await until(() => gateway.connections.size === 2)
    expect(await refused(Frontend.connect(address))).toContain(tooMany)
    await using _third = await Frontend.open(unix)
    await using _fourth = await Frontend.open(unix)
    await until(() => gateway.connections.size === 4)
    expect(await refused(Frontend.connect(unix))).not.toBe('in') // with or without a word
  }
  await until(() => gateway.connections.size === 0)
  // Who is in is no stranger: more than two are, from one address.
  const clients = await Promise.all([1, 2].map(() => Frontend.connect(address)))
  clients.push(await Frontend.connect(address))
  for (const client of clients) await client[Symbol.asyncDispose]()
})
