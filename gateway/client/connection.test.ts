import { expect, test } from 'bun:test'
import { nullLogger } from '../../shared/log/logger.ts'
import { startup } from '../../shared/pgwire/frontend.ts'
import { Expiry } from '../../shared/time/expiry.ts'
import { AuthRules } from '../auth/auth-rules.ts'
import type { ConnectionHost } from './connection-host.ts'
import { Connection, type RawSocket } from './connection.ts'

const PORT = { unix: true, reads: false }

/** A gateway without a leader: who logs in waits for it. */
function leaderless(): { connection: Connection; isClosed: () => boolean } {
  let closed = false
  const host: Partial<ConnectionHost> = {
    log: nullLogger,
    late: new Expiry(() => 60_000),
    counters: { logins: 0 } as ConnectionHost['counters'],
    tls: () => undefined,
    rules: new AuthRules({ file: () => undefined, log: nullLogger }, false),
    stranger: () => ({ [Symbol.dispose]() {} }),
    loginRow: () => new Promise(() => {}),
    closed: () => {
      closed = true
    },
  }
  const socket = { write: (_bytes: Buffer, _start: number, count: number) => count, terminate() {} }
  const raw = socket as unknown as RawSocket
  return { connection: new Connection(host as ConnectionHost, raw, PORT), isClosed: () => closed }
}

test('a client that is not in yet cannot make the gateway keep what it sends', async () => {
  const { connection, isClosed } = leaderless()
  connection.rawData(startup({ user: 'u', database: 'd' }))
  await Promise.resolve()
  const chunk = Buffer.alloc(16 * 1024)
  chunk[0] = 0x70
  chunk.writeInt32BE(chunk.length - 1, 1)
  for (let sent = 0; sent < 10; sent++) connection.rawData(chunk)
  expect(isClosed()).toBe(false)
  for (let sent = 0; sent < 10; sent++) connection.rawData(chunk)
  expect(isClosed()).toBe(true)
})
