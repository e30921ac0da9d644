// Goal: gRPC over TLS checks the server's certificate, and its token guards it from any address.
// Method: the certificates that `cluster start` makes, a real server, clients with and without CA.
import { afterAll, expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeCertificates } from '../../cli/local/certificates.ts'
import { PgctldClient, PgctldService } from '../../proto/gen/pgctld.ts'
import { Code } from '../../shared/errors/grpc-code.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { callUnary, rpcClient } from '../../shared/rpc/client.ts'
import { startRpcServer, unary, type Handlers } from '../../shared/rpc/server.ts'
import { failureOf } from '../support/failure.ts'

const dirs = ['ours', 'theirs'].map((name) => mkdtempSync(join(tmpdir(), `mg-rpc-tls-${name}-`)))
afterAll(() => dirs.forEach((dir) => rmSync(dir, { recursive: true })))

const version = unary(async () => ({ postgresVersion: '18', binDir: '', hasPgRewind: false }))
const handlers = Object.fromEntries(
  Object.keys(PgctldService).map((name) => [name, version]),
) as Handlers<typeof PgctldService>

test('a client that trusts the CA is served, one that trusts another is not', async () => {
  const [ours, theirs] = await Promise.all(dirs.map((dir) => makeCertificates(dir, '127.0.0.1')))
  if (ours === undefined || theirs === undefined) throw new Error('no certificates')
  const read = (file: string): string => readFileSync(file, 'utf8')
  const tls = { key: read(ours.key), cert: read(ours.cert) }
  const token = 'sesame'
  const options = { address: '127.0.0.1:0', token, tls, log: nullLogger }
  await using server = await startRpcServer(options)
  server.add(PgctldService, handlers)
  const address = `localhost:${server.port}`
  const call = async (tlsCa: string | undefined) => {
    const trust = tlsCa === undefined ? {} : { tlsCa }
    const client = rpcClient(PgctldClient, address, { token, ...trust })
    return await callUnary(client, 'version', {}, { timeoutMs: 2000 }).finally(() => client.close())
  }
  expect((await call(read(ours.ca))).postgresVersion).toBe('18')
  for (const wrong of [read(theirs.ca), undefined]) {
    expect(await failureOf(call(wrong))).toMatchObject({ code: Code.UNAVAILABLE })
  }
})
