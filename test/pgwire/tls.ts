import { expect, test } from 'bun:test'
import { connect as connectTls } from 'node:tls'
import {
  cancelRequest,
  gssEncRequest,
  query,
  saslInitialResponse,
  saslResponse,
  sslRequest,
  startup,
} from '../../shared/pgwire/frontend.ts'
import { ScramClient } from '../../shared/scram/client.ts'
import { Frontend } from '../support/frontend.ts'
import type { Server } from '../support/servers.ts'
import { startSleep } from './running.ts'

const PLUS = 'SCRAM-SHA-256-PLUS'
const MB = 1024 * 1024

/** TLS by SSLRequest and direct, ALPN, channel binding, and bytes smuggled in front of TLS. */
export function tlsTests(server: () => Server): void {
  test.each(['request', 'direct'] as const)('a session over TLS by %s, checked', async (how) => {
    const tls = { how, ca: server().ca }
    await using frontend = await server().connect({ tls })
    expect(frontend.alpnProtocol).toBe('postgresql')
    expect(await frontend.row('select 1')).toEqual(['1'])
    const [text] = await frontend.row(`select repeat('t', ${MB})`)
    expect(text?.length).toBe(MB)
    expect(await frontend.row(`select length('${'q'.repeat(MB)}')`)).toEqual([String(MB)])
  })

  test('SSLRequest needs no ALPN', async () => {
    await using frontend = await server().connect({ tls: { ca: server().ca, alpn: [] } })
    expect(await frontend.row('select 1')).toEqual(['1'])
  })

  test('direct TLS without ALPN is refused', async () => {
    expect(await directTls(server(), undefined)).not.toBe('connected')
  })

  test('direct TLS with another protocol is refused', async () => {
    expect(await directTls(server(), ['http/1.1'])).not.toBe('connected')
  })

  test('GSSENCRequest, then SSLRequest, then a session', async () => {
    await using frontend = await Frontend.open(server().address)
    frontend.send(gssEncRequest())
    expect((await frontend.bytes(1)).toString()).toBe('N')
    await frontend.login({ tls: { ca: server().ca } })
    expect(await frontend.row('select 1')).toEqual(['1'])
  })

  test('a second SSLRequest, inside TLS, is no startup packet', async () => {
    await using frontend = await Frontend.open(server().address)
    await frontend.startTls({})
    frontend.send(sslRequest())
    expect(await frontend.untilClosed()).toEqual(['ErrorResponse FATAL 0A000'])
  })

  test('bytes sent behind SSLRequest in the same write get no session', async () => {
    await using frontend = await Frontend.open(server().address)
    frontend.send(sslRequest(), startup({ user: 'postgres' }), query('select 1'))
    const bytes = await frontend.bytesUntilClosed()
    expect(bytes.toString('latin1')).toBe('S')
  })

  test('over TLS channel binding is offered, and used', async () => {
    await using frontend = await Frontend.open(server().address)
    await frontend.startTls({ ca: server().ca })
    frontend.send(startup({ user: 'postgres' }))
    expect(await frontend.until('Authentication')).toEqual([
      `AuthenticationSASL ${PLUS},SCRAM-SHA-256`,
    ])
    await using bound = await server().connect({ tls: { ca: server().ca } })
    expect(await bound.row('select 1')).toEqual(['1'])
    await using unbound = await server().connect({
      tls: { ca: server().ca },
      channelBinding: false,
    })
    expect(await unbound.row('select 1')).toEqual(['1'])
  })

  test('without TLS channel binding is not offered', async () => {
    await using frontend = await Frontend.open(server().address)
    frontend.send(startup({ user: 'postgres' }))
    expect(await frontend.until('Authentication')).toEqual(['AuthenticationSASL SCRAM-SHA-256'])
  })

  test('a client that could bind and was told that the server cannot is a sign of an attack', async () => {
    await using frontend = await Frontend.open(server().address)
    await frontend.startTls({ ca: server().ca })
    frontend.send(startup({ user: 'postgres' }))
    await frontend.until('Authentication')
    // As if somebody in the middle had taken PLUS out of the list: the client says 'y'.
    const scram = new ScramClient({
      password: 'postgres',
      mechanisms: ['SCRAM-SHA-256'],
      channelBinding: frontend.endPoint(),
    })
    frontend.send(saslInitialResponse(scram.mechanism, scram.clientFirst()))
    expect(await frontend.untilClosed()).toEqual(['ErrorResponse FATAL 28000'])
  })

  test('a proof bound to another certificate is refused', async () => {
    await using frontend = await Frontend.open(server().address)
    await frontend.startTls({ ca: server().ca })
    frontend.send(startup({ user: 'postgres' }))
    await frontend.until('Authentication')
    const scram = new ScramClient({
      password: 'postgres',
      mechanisms: [PLUS],
      channelBinding: Buffer.alloc(32, 1),
    })
    frontend.send(saslInitialResponse(scram.mechanism, scram.clientFirst()))
    const message = await frontend.message()
    if (message.name !== 'AuthenticationSASLContinue') throw new Error(message.name)
    frontend.send(saslResponse(scram.clientFinal(message.data)))
    expect(await frontend.untilClosed()).toEqual(['ErrorResponse FATAL 28000'])
  })

  test('a cancel over TLS works', async () => {
    await using frontend = await server().connect({ tls: { ca: server().ca } })
    await startSleep(server(), frontend)
    await using canceler = await Frontend.open(server().address)
    await canceler.startTls({ ca: server().ca })
    canceler.send(cancelRequest(frontend.processId, frontend.cancelKey))
    await canceler.untilClosed()
    expect((await frontend.untilReadyForQuery()).at(-2)).toBe('ErrorResponse ERROR 57014')
  })
}

function directTls(server: Server, alpn: string[] | undefined): Promise<string> {
  return new Promise<string>((resolve) => {
    const socket = connectTls({
      ...server.address,
      servername: 'localhost',
      ca: server.ca,
      ...(alpn === undefined ? {} : { ALPNProtocols: alpn }),
    })
    socket.on('error', (error) => resolve(error.message)).on('close', () => resolve('closed'))
    socket.on('secureConnect', () => {
      // The refusal may come with the first record: only a session counts.
      socket.write(startup({ user: 'postgres' }))
      socket.on('data', () => resolve('connected'))
    })
  })
}
