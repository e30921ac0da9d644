// Goal: after a cut no call waits for what TCP tries on its old connection.
// Method: a real server behind a proxy that swallows what goes over connections it has, while new
// ones work, as those do that were made when a network was cut and healed.
import { expect, test } from 'bun:test'
import { PgctldClient, PgctldService } from '../../proto/gen/pgctld.ts'
import { PoolerService, StatusReply } from '../../proto/gen/pooler.ts'
import { PoolerWatch } from '../../orch/observe/pooler-watch.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { callUnary, rpcClient } from '../../shared/rpc/client.ts'
import { RenewedClient } from '../../shared/rpc/renewed-client.ts'
import { serverStream, startRpcServer, unary } from '../../shared/rpc/server.ts'
import { failureOf } from '../support/failure.ts'
import { pause } from '../support/pace.ts'
import { until } from '../support/until.ts'
import { CutProxy } from '../topology/cut-proxy.ts'

const TOKEN = 'a-token'
const VERSION = { postgresVersion: '18', binDir: '', hasPgRewind: false }
const options = { address: '127.0.0.1:0', token: TOKEN, log: nullLogger }

/** All methods of a service by one handler. */
function all<S extends object>(service: S, handler: unknown): never {
  return Object.fromEntries(Object.keys(service).map((name) => [name, handler])) as never
}

/** Asks for another connection until there is one: not soon after the last. */
async function renewed(line: RenewedClient<PgctldClient>): Promise<void> {
  const before = line.client
  await until(() => {
    line.renew()
    return line.client !== before
  })
}

test('what a connection swallows fails, what goes over the next one does not', async () => {
  await using server = await startRpcServer(options)
  server.add(
    PgctldService,
    all(
      PgctldService,
      unary(async () => VERSION),
    ),
  )
  await using wire = await CutProxy.to(server.port)
  const line = new RenewedClient(PgctldClient, wire.address, { token: TOKEN })
  const version = (timeoutMs: number) => callUnary(line.client, 'version', {}, { timeoutMs })
  expect(await version(5000)).toMatchObject(VERSION)
  // Somebody else's, which goes over one connection with all others of the address.
  const other = rpcClient(PgctldClient, wire.address, { token: TOKEN })
  expect(await callUnary(other, 'version', {}, { timeoutMs: 5000 })).toMatchObject(VERSION)
  wire.mute()
  expect(String(await failureOf(version(1000)))).toContain('version')
  await renewed(line)
  expect(await version(5000)).toMatchObject(VERSION)
  line.close()
  other.close()
})

test('what is called when the connection is renewed is answered over the old one', async () => {
  await using server = await startRpcServer(options)
  const go = Promise.withResolvers<void>()
  const come = Promise.withResolvers<void>()
  const version = unary(async () => {
    come.resolve()
    await go.promise
    return VERSION
  })
  server.add(PgctldService, all(PgctldService, version))
  const address = `127.0.0.1:${server.port}`
  const line = new RenewedClient(PgctldClient, address, { token: TOKEN })
  const answer = callUnary(line.client, 'version', {}, { timeoutMs: 20_000 })
  await come.promise
  await renewed(line)
  go.resolve()
  expect(await answer).toMatchObject(VERSION)
  line.close()
})

test('a watch whose stream fell silent has another one soon', async () => {
  await using server = await startRpcServer(options)
  let term = 0n
  const stream = serverStream(async function* (_request, { signal }: { signal: AbortSignal }) {
    for (; !signal.aborted; await pause(50)) {
      yield StatusReply.fromPartial({ id: 'a', sequence: (term += 1n) })
    }
  })
  server.add(PoolerService, all(PoolerService, stream))
  await using wire = await CutProxy.to(server.port)
  const about = { id: 'a', address: wire.address, token: TOKEN, log: nullLogger }
  await using watch = new PoolerWatch({ ...about, changed: () => undefined })
  await until(() => watch.status !== undefined)
  wire.mute()
  const before = watch.client
  await until(() => watch.client !== before)
  const { sequence = 0n } = watch.status ?? {}
  await until(() => (watch.status?.sequence ?? 0n) > sequence)
})
