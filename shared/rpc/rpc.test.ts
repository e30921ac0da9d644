import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PgctldClient, PgctldService, CloneRequest, State } from '../../proto/gen/pgctld.ts'
import { failureOf } from '../../test/support/failure.ts'
import { until } from '../../test/support/until.ts'
import { Code } from '../errors/grpc-code.ts'
import { PgError } from '../errors/pg-error.ts'
import { nullLogger } from '../log/logger.ts'
import { callStream, callUnary, rpcClient } from './client.ts'
import { serverStream, startRpcServer, unary, type RpcServer } from './server.ts'
import { RpcError } from './status.ts'

const TOKEN = 'a-token'
const CLONE = CloneRequest.fromPartial({})
const dir = mkdtempSync(join(tmpdir(), 'mg-rpc-'))
let abandoned = 0 // calls whose handler saw its caller leave
let server: RpcServer
let client: PgctldClient

beforeAll(async () => {
  server = await serve({ address: '127.0.0.1:0', token: TOKEN })
  client = rpcClient(PgctldClient, `127.0.0.1:${server.port}`, { token: TOKEN })
})
afterAll(async () => {
  client.close()
  await server[Symbol.asyncDispose]()
  rmSync(dir, { recursive: true })
})

async function serve(options: { address: string; token?: string }): Promise<RpcServer> {
  const { address, token } = options
  const started = await startRpcServer({ address, token, log: nullLogger })
  const unused = unary(async () => {
    throw new Error('a bug of ours')
  })
  started.add(PgctldService, {
    rewind: serverStream(() => {
      throw new Error('a bug of ours')
    }),
    version: unary(async (_request, { deadlineMs }) => {
      return {
        postgresVersion: `${Math.round(deadlineMs / 1000)}`,
        binDir: '/ü',
        hasPgRewind: true,
      }
    }),
    init: unary(async () => {
      throw new PgError('disk_full', 'no room in "/däta"')
    }),
    start: unary(async (_request, { signal }) => {
      const aborted = Promise.withResolvers<void>()
      signal.addEventListener('abort', () => aborted.resolve())
      if (!signal.aborted) await aborted.promise
      abandoned += 1
      throw signal.reason
    }),
    clone: serverStream(async function* (request: CloneRequest, { signal }) {
      for (let count = 0n; !signal.aborted; count += 1n) {
        if (count === BigInt(request.port)) throw new PgError('connection_failure', 'cut')
        const phase = 'x'.repeat(10_000)
        yield { phase, bytesDone: 2n ** 63n + count, bytesTotal: count, status: undefined }
      }
    }),
    stop: unused,
    restart: unused,
    reload: unused,
    status: unused,
    promote: unused,
  })
  return started
}

async function failure(call: Promise<unknown>): Promise<RpcError> {
  const error = await call.catch((reason: unknown) => reason)
  if (error instanceof RpcError) return error
  throw new Error('the call did not fail', { cause: error })
}

test('a call is answered, and the handler knows how long its caller waits', async () => {
  const reply = await callUnary(client, 'version', {}, { timeoutMs: 5000 })
  expect(reply).toEqual({ postgresVersion: '5', binDir: '/ü', hasPgRewind: true })
})

test('a PgError arrives with its code, message and SQLSTATE', async () => {
  const error = await failure(callUnary(client, 'init', { sql: [] }, { timeoutMs: 5000 }))
  expect(error).toMatchObject({ code: Code.RESOURCE_EXHAUSTED, sqlstate: '53100' })
  expect(error.message).toBe('init: no room in "/däta"')
})

test('any other error of a handler is INTERNAL', async () => {
  const error = await failure(callUnary(client, 'status', {}, { timeoutMs: 5000 }))
  expect(error).toMatchObject({ code: Code.INTERNAL, sqlstate: undefined })
})

test('a deadline ends the call on both sides', async () => {
  const request = { settings: {}, timeoutMs: 0 }
  await until(async () => {
    // On a busy machine the time may be up before the server has the call: then there is no handler.
    const error = await failure(callUnary(client, 'start', request, { timeoutMs: 100 }))
    expect(error.code).toBe(Code.DEADLINE_EXCEEDED)
    return abandoned > 0
  })
})

test('an aborted signal cancels the call, also before it began', async () => {
  const stop = new AbortController()
  const request = { settings: {}, timeoutMs: 0 }
  const options = { timeoutMs: 5000, signal: stop.signal }
  const call = callUnary(client, 'start', request, options)
  stop.abort()
  expect((await failure(call)).code).toBe(Code.CANCELLED)
  expect((await failure(callUnary(client, 'version', {}, options))).code).toBe(Code.CANCELLED)
})

test('a stream keeps 64-bit numbers, ends with its error, and may be left early', async () => {
  const seen: bigint[] = []
  const reading = (async () => {
    for await (const { bytesDone } of callStream(client, 'clone', { ...CLONE, port: 50 })) {
      seen.push(bytesDone)
    }
  })()
  expect(await failure(reading)).toMatchObject({ code: Code.UNAVAILABLE, sqlstate: '08006' })
  expect(seen).toHaveLength(50)
  expect(seen[1]).toBe(2n ** 63n + 1n)
  for await (const { phase } of callStream(client, 'clone', { ...CLONE, port: 1e9 })) {
    expect(phase).toHaveLength(10_000)
    break
  }
})

test('a caller without the token is refused, on every kind of call', async () => {
  for (const token of [undefined, 'a-tokem', 'a-token ']) {
    const stranger = rpcClient(PgctldClient, `127.0.0.1:${server.port}`, { token })
    const unaryError = await failure(callUnary(stranger, 'version', {}, { timeoutMs: 5000 }))
    expect(unaryError.code).toBe(Code.UNAUTHENTICATED)
    const next = callStream(stranger, 'clone', CLONE).next()
    expect((await failure(next)).code).toBe(Code.UNAUTHENTICATED)
    stranger.close()
  }
})

test('without a token loopback and unix sockets may call', async () => {
  const path = join(dir, 'rpc.sock')
  for (const address of ['127.0.0.1:0', `unix:${path}`]) {
    await using open = await serve({ address })
    const target = address.startsWith('unix:') ? address : `127.0.0.1:${open.port}`
    const local = rpcClient(PgctldClient, target, { token: undefined })
    const reply = await callUnary(local, 'version', {}, { timeoutMs: 5000 })
    expect(reply.hasPgRewind).toBe(true)
    local.close()
  }
})

test('a busy port is named with its flag, and a busy socket is not taken away', async () => {
  const address = `127.0.0.1:${server.port}`
  expect((await failureOf(serve({ address }))).message).toBe(
    `port ${server.port} on 127.0.0.1 is busy: choose another by --grpc-port`,
  )
  const path = `unix:${join(dir, 'busy.sock')}`
  await using _ = await serve({ address: path })
  expect((await failureOf(serve({ address: path }))).message).toContain('EADDRINUSE')
})

test('a peer that is not there is UNAVAILABLE at once', async () => {
  const nobody = rpcClient(PgctldClient, '127.0.0.1:1', { token: undefined })
  const error = await failure(callUnary(nobody, 'version', {}, { timeoutMs: 5000 }))
  expect(error.code).toBe(Code.UNAVAILABLE)
  nobody.close()
})

test('an enum crosses as its name', () => {
  expect(State.RUNNING).toBe('RUNNING')
})
