// What no real server does on purpose: silence, lies, half messages. A fake one does.
import { afterEach, describe, expect, test } from 'bun:test'
import { createServer, type Server, type Socket } from 'node:net'
import { failureOf } from '../../test/support/failure.ts'
import { int, str, val, wire } from '../../test/support/wire-bytes.ts'
import { ReplicationConnection, type ReplicationOptions } from './replication-connection.ts'

const ok = wire('R', int(4, 0))
const ready = wire('Z', 'I')
const status = wire('S', str('server_version'), str('18.4 (Debian)'))
const welcome = Buffer.concat([ok, status, ready])
const error = (severity: string, code: string) =>
  wire('E', str(`S${severity}`), str(`V${severity}`), str(`C${code}`), str('Mno'), '\0')
const identity = Buffer.concat([
  wire('T', int(2, 0)),
  wire('D', int(2, 4), val('7'), val('1'), val('0/10'), val(null)),
  wire('C', str('IDENTIFY_SYSTEM')),
  ready,
])

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

/** A server that answers the nth thing it hears with the nth of `answers`, then is silent. */
async function serve(...answers: (Buffer | ((socket: Socket) => void))[]) {
  const server = createServer((socket) => {
    let heard = 0
    socket.on('error', () => undefined)
    socket.on('data', () => {
      const answer = answers[heard++]
      if (typeof answer === 'function') answer(socket)
      else if (answer !== undefined) socket.write(answer)
    })
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const address = { host: '127.0.0.1', port }
  const options = { address, user: 'x', timeoutMs: 5000 }
  return (more: Partial<ReplicationOptions> = {}) =>
    ReplicationConnection.connect({ ...options, ...more })
}

describe('connecting', () => {
  test('works, and tells the version', async () => {
    using connection = await (await serve(welcome, identity))()
    expect(connection.serverMajor).toBe(18)
    expect(await connection.identifySystem()).toEqual({
      systemId: '7',
      timeline: 1,
      xlogPos: 16n,
      dbname: undefined,
    })
  })

  test('fails where nobody listens', async () => {
    const connect = await serve()
    const [server] = servers.splice(0)
    await new Promise((resolve) => server!.close(resolve))
    expect(await failureOf(connect())).toMatchObject({ sqlstate: '08006' })
    const address = { path: '/tmp/there-is-no-such-socket' }
    expect(await failureOf(connect({ address }))).toMatchObject({ sqlstate: '08006' })
  })

  test('fails with the error of the server', async () => {
    const connect = await serve(error('FATAL', '57P03'))
    expect(await failureOf(connect())).toMatchObject({ name: 'ServerError', sqlstate: '57P03' })
    const late = await serve(Buffer.concat([ok, error('FATAL', '53300')]))
    expect(await failureOf(late())).toMatchObject({ sqlstate: '53300' })
  })

  test('fails when the server is silent, closes, or speaks nonsense', async () => {
    expect(await failureOf((await serve())({ timeoutMs: 100 }))).toMatchObject({
      sqlstate: '57014',
    })
    const closing = await serve((socket) => void socket.end(ok.subarray(0, 3)))
    expect(await failureOf(closing())).toMatchObject({ sqlstate: '08006' })
    const nonsense = await serve(Buffer.from('HTTP/1.1 400 Bad Request'))
    expect(await failureOf(nonsense())).toMatchObject({ sqlstate: '08P01' })
  })

  test('fails with the reason of its signal', async () => {
    const abort = new AbortController()
    const connect = await serve(() => abort.abort(new Error('enough')))
    expect((await failureOf(connect({ signal: abort.signal }))).message).toContain('enough')
    expect(
      (await failureOf(connect({ signal: AbortSignal.abort(new Error('before')) }))).message,
    ).toContain('before')
  })

  test('with TLS fails at a server without it, or with bytes that came too early', async () => {
    const without = await serve(Buffer.from('N'))
    expect((await failureOf(without({ tls: {} }))).message).toContain('does not speak TLS')
    const early = await serve(Buffer.from('Sx'))
    expect((await failureOf(early({ tls: {} }))).message).toContain('does not speak TLS')
    expect(await failureOf((await serve())({ tls: {}, timeoutMs: 100 }))).toMatchObject({
      sqlstate: '57014',
    })
  })
})

describe('authentication', () => {
  const secret = { password: 'secret' }
  const sasl = wire('R', int(4, 10), str('SCRAM-SHA-256'), '\0')

  test('gives no password in clear unless told to', async () => {
    const connect = await serve(wire('R', int(4, 3)), welcome)
    expect((await failureOf(connect({ secret }))).message).toContain('in clear')
    using connection = await connect({ secret, allowCleartext: true })
    expect(connection.serverMajor).toBe(18)
  })

  test('knows no md5, and nothing it does not know', async () => {
    const md5 = await serve(wire('R', int(4, 5), 'salt'))
    expect((await failureOf(md5({ secret }))).message).toContain('md5')
    expect((await failureOf((await serve(wire('R', int(4, 7))))({ secret }))).message).toContain(
      'unknown',
    )
  })

  test('fails without a password where one is wanted', async () => {
    expect((await failureOf((await serve(sasl))())).message).toContain('none is given')
  })

  test('does not take a server at its word that skips its part of SCRAM', async () => {
    const early = await serve(sasl, welcome)
    expect((await failureOf(early({ secret }))).message).toContain('skipped its part')
    const wrong = await serve(wire('R', int(4, 11), 'r=x,s=AAAA,i=1'))
    expect((await failureOf(wrong({ secret }))).message).toContain('before it began')
  })
})

describe('a command', () => {
  test('that gets an error leaves the connection usable, a fatal one does not', async () => {
    const connect = await serve(
      welcome,
      Buffer.concat([error('ERROR', '42704'), ready]),
      identity,
      error('FATAL', '57P01'),
    )
    using connection = await connect()
    expect(await failureOf(connection.show('x'))).toMatchObject({ sqlstate: '42704' })
    expect((await connection.identifySystem()).systemId).toBe('7')
    expect(await failureOf(connection.show('x'))).toMatchObject({ sqlstate: '57P01' })
    expect(await failureOf(connection.show('x'))).toMatchObject({ sqlstate: '57P01' })
  })

  test('fails when the server is silent, and so do all after it', async () => {
    using connection = await (await serve(welcome))({ timeoutMs: 500 })
    expect((await failureOf(connection.show('x'))).message).toContain('silent for 500 ms')
    expect((await failureOf(connection.show('x'))).message).toContain('silent for 500 ms')
  })

  test('is not made of anything but a name', async () => {
    using connection = await (await serve(welcome))()
    expect((await failureOf(connection.show('x; drop'))).message).toContain(
      'not the name of a setting',
    )
    expect(
      (await failureOf(connection.startReplication({ slot: 'X y', lsn: 0n }))).message,
    ).toContain('slot')
  })

  test('with an answer of another shape is refused', async () => {
    const empty = Buffer.concat([wire('C', str('SHOW')), ready])
    const connect = await serve(welcome, empty)
    using connection = await connect()
    expect(await failureOf(connection.identifySystem())).toMatchObject({ sqlstate: '08P01' })
  })

  test('goes through whole when the answer comes byte by byte', async () => {
    const trickle = (socket: Socket) => {
      for (const byte of identity) socket.write(Buffer.from([byte]))
    }
    using connection = await (await serve(welcome, trickle))()
    expect((await connection.identifySystem()).xlogPos).toBe(16n)
  })
})

describe('a stream', () => {
  test('is read, answered and ended', async () => {
    const both = wire('W', int(1, 0), int(2, 0))
    const time = int(8, 1_000_000n)
    const data = wire('d', 'w', int(8, 0x10), int(8, 0x20), time, 'wal')
    const keepalive = wire('d', 'k', int(8, 0x20), time, int(1, 1))
    const heard: Buffer[] = []
    const ended = Promise.withResolvers<void>()
    const end = (socket: Socket) => {
      socket.on('data', (bytes) => void heard.push(Buffer.from(bytes)))
      socket.on('end', () => ended.resolve())
      socket.write(Buffer.concat([both, data, keepalive, wire('c')]))
      const next = wire('D', int(2, 2), val('2'), val('0/30'))
      socket.write(Buffer.concat([next, wire('C', str('START')), ready]))
    }
    using connection = await (await serve(welcome, end))()
    const stream = await connection.startReplication({ lsn: 0x10n })
    const positions = { writtenLsn: 1n, flushedLsn: 2n, appliedLsn: 3n }
    await stream.sendStatus({ ...positions, replyRequested: true })
    const sentAtMs = Date.UTC(2000, 0, 1) + 1000
    expect(await Array.fromAsync(stream)).toEqual([
      { kind: 'xlogData', startLsn: 16n, endLsn: 32n, sentAtMs, bytes: Buffer.from('wal') },
      { kind: 'keepalive', endLsn: 32n, sentAtMs, replyRequested: true },
    ])
    expect(stream.next).toEqual({ timeline: 2, startLsn: 0x30n })
    await connection.close()
    await ended.promise
    const sent = Buffer.concat(heard)
    expect(sent.subarray(0, 30)).toEqual(
      Buffer.concat([
        Buffer.from('d'),
        int(4, 38),
        Buffer.from('r'),
        int(8, 1),
        int(8, 2),
        int(8, 3),
      ]),
    )
    expect(sent[38]).toBe(1)
    expect(sent.toString('latin1', 39, 44)).toBe('c\0\0\0\x04')
  })

  test('with an unknown message ends in an error', async () => {
    const start = Buffer.concat([wire('W', int(1, 0), int(2, 0)), wire('d', '?')])
    using connection = await (await serve(welcome, start))()
    const stream = await connection.startReplication({ lsn: 0n })
    expect(await failureOf(Array.fromAsync(stream))).toMatchObject({ sqlstate: '08P01' })
  })
})
