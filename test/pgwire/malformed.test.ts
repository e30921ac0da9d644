// Goal: what is malformed is refused in Postgres's own words.
// Method: the same bytes go to our decoders and to a real PostgreSQL 18; both must say the same.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { connect } from 'node:net'
import { join } from 'node:path'
import { decodeErrorFields, fromPgError } from '../../shared/pgwire/error-fields.ts'
import { decodeFrontend } from '../../shared/pgwire/frontend-decode.ts'
import { query, startup, sync } from '../../shared/pgwire/frontend.ts'
import { MessageReader } from '../../shared/pgwire/message-reader.ts'
import { Backend } from '../../shared/pgwire/message-types.ts'
import {
  decodeStartupPacket,
  negotiate,
  unsupportedProtocol,
} from '../../shared/pgwire/startup-packet.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { describeBackend } from '../../shared/pgwire/transcript.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'
import { int, packet, str, wire } from '../support/wire-bytes.ts'

let server: TestPostgres
beforeAll(async () => {
  server = await startPostgres()
}, 60_000)
afterAll(() => server?.stop('immediate'))

/** All that the server says to `bytes`, until it closes or has said `until` so many times. */
async function answer(bytes: Buffer, readies: number): Promise<string[]> {
  const lines: string[] = []
  const reader = new MessageReader({ messageBytesMax: 2 ** 20 })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const socket = connect(join(server.socketDir, `.s.PGSQL.${server.port}`))
  socket.on('error', reject).on('close', () => resolve())
  socket.on('data', (chunk) => {
    reader.feed(Buffer.from(chunk))
    while (reader.next() !== undefined) {
      if (reader.type === Backend.ErrorResponse) lines.push(errorLine(reader))
      else lines.push(describeBackend(reader))
    }
    if (lines.filter((line) => line.startsWith('ReadyForQuery')).length >= readies) resolve()
  })
  socket.write(bytes)
  await promise
  socket.destroy()
  return lines
}

function errorLine(reader: MessageReader): string {
  const { severityNonLocalized, code, message, detail, hint } = decodeErrorFields(reader)
  return [severityNonLocalized, code, message, detail, hint].filter(Boolean).join(' | ')
}

/** What we say: the ErrorResponse of what `decode` throws. */
function refusalOf(decode: () => unknown): string {
  try {
    decode()
  } catch (error) {
    expect(error).toBeInstanceOf(PgError)
    const reader = new MessageReader({ messageBytesMax: 2 ** 20 })
    reader.feed(fromPgError(error as PgError))
    reader.next()
    return errorLine(reader)
  }
  return 'taken'
}

const end = int(1, 0)
const version = (code: number, ...texts: string[]) => packet(int(4, code), ...texts.map(str), end)
const V3 = 0x30000

describe('startup packets', () => {
  test.each([
    ['no terminator', packet(int(4, V3), str('user'), str('postgres'))],
    ['bytes behind the terminator', packet(int(4, V3), str('user'), str('postgres'), end, 'x')],
    ['a name without value', packet(int(4, V3), str('user'))],
    ['a value without end', packet(int(4, V3), str('user'), 'postgres')],
    ['nothing', packet(int(4, V3))],
    ['no user', version(V3, 'database', 'postgres')],
    ['an empty user', version(V3, 'user', '')],
    ['a replication mode of no kind', version(V3, 'user', 'postgres', 'replication', 'o')],
    ['version 4.0', version(0x40000, 'user', 'postgres')],
    ['version 9.7', version(0x90007, 'user', 'postgres')],
  ])('with %s', async (_, bytes) => {
    const ours = refusalOf(() => {
      const decoded = decodeStartupPacket(bytes)
      if (decoded.name === 'OtherRequest') throw unsupportedProtocol(decoded.code)
    })
    expect(await answer(bytes, 1)).toEqual([ours])
  })

  // 3.1 is left out: there we differ on purpose, see `negotiate`.
  test.each([
    [V3, []],
    [0x30002, []],
    [0x30003, []],
    [V3 + 9999, []],
    [V3, ['_pq_.a', '_pq_.b']],
    [0x30002, ['_pq_.a']],
    [V3 + 9999, ['_pq_.a']],
  ])('of version %p with %p', async (code, options) => {
    const texts = options.flatMap((option) => [option, '1'])
    const bytes = version(code, 'user', 'postgres', ...texts)
    const decoded = decodeStartupPacket(bytes)
    if (decoded.name !== 'StartupMessage') throw new Error(decoded.name)
    const { version: spoken, negotiation } = negotiate(decoded)
    const lines = await answer(bytes, 1)
    const told = negotiation && [`3.${negotiation.version & 0xffff}`, ...negotiation.options]
    const expected = told && `NegotiateProtocolVersion ${told.join(' ')}`
    expect(lines.find((line) => line.startsWith('Negotiate'))).toBe(expected)
    expect(lines).toContain(`BackendKeyData ${spoken === V3 ? 4 : 32} bytes`)
  })
})

describe('messages', () => {
  const counts = [int(2, 0), int(2, 0), int(2, 0)]
  test.each([
    ['Parse without types', wire('P', str(''), str('select 1'))],
    ['Parse without NUL', wire('P', 'abc')],
    ['Parse with a type too few', wire('P', str(''), str('select 1'), int(2, 2), int(4, 23))],
    ['Parse with bytes left over', wire('P', str(''), str('select 1'), int(2, 0), 'x')],
    ['Describe of no kind', wire('D', 'X', str(''))],
    ['Describe without NUL', wire('D', 'S')],
    ['Describe without anything', wire('D')],
    ['Close of no kind', wire('C', 'X', str(''))],
    ['Close with bytes left over', wire('C', 'P', str(''), 'x')],
    ['Execute without a count', wire('E', str(''))],
    ['Execute with bytes left over', wire('E', str(''), int(4, 0), 'x')],
    ['Query without NUL', wire('Q', 'select 1')],
    ['Query with bytes left over', wire('Q', str('select 1'), 'x')],
    ['Sync with a body', wire('S', 'x')],
    ['Flush with a body', wire('H', 'x')],
    ['FunctionCall cut short', wire('F', int(4, 871), int(2, 0), int(2, 1))],
    ['a type of no kind', wire('!', ...counts)],
  ])('%s', async (_, bytes) => {
    const reader = new MessageReader({ messageBytesMax: 1024 })
    reader.feed(bytes)
    reader.next()
    const ours = refusalOf(() => decodeFrontend(reader))
    const hello = startup({ user: 'postgres' })
    const lines = await answer(Buffer.concat([hello, bytes, sync()]), 2)
    const refusal = lines
      .slice(lines.indexOf('ReadyForQuery idle') + 1)
      .find((l) => l.includes('|'))
    expect(refusal).toBe(ours)
  })

  // Postgres looks for the statement before it reads on: it needs one.
  test.each([
    ['cut in its counts', [int(2, 0), int(2, 1)]],
    ['with a value past its end', [int(2, 0), int(2, 1), int(4, 9), 'x', int(2, 0)]],
    ['with a value of length -2', [int(2, 0), int(2, 1), int(4, -2), 'x', int(2, 0)]],
    ['with a format of no kind', [int(2, 1), int(2, 2), int(2, 1), int(4, 1), '1', int(2, 0)]],
    ['with bytes left over', [int(2, 0), int(2, 1), int(4, 1), '1', int(2, 0), 'x']],
  ])('Bind %s', async (_, rest) => {
    const bytes = wire('B', str(''), str(''), ...rest)
    const reader = new MessageReader({ messageBytesMax: 1024 })
    reader.feed(bytes)
    reader.next()
    const ours = refusalOf(() => decodeFrontend(reader))
    const parsed = wire('P', str(''), str('select $1'), int(2, 0))
    const script = [startup({ user: 'postgres' }), parsed, bytes, sync()]
    const lines = await answer(Buffer.concat(script), 2)
    expect(lines.slice(-2)).toEqual([ours, 'ReadyForQuery idle'])
  })
})

test('a transcript tells a real session', async () => {
  const script = [startup({ user: 'postgres' }), query('begin; select null, 1; select 1/0')]
  const lines = await answer(Buffer.concat(script), 2)
  expect(lines.slice(lines.indexOf('ReadyForQuery idle') + 1)).toEqual([
    'CommandComplete BEGIN',
    'RowDescription ?column?,?column?',
    'DataRow NULL,1',
    'CommandComplete SELECT 1',
    'ERROR | 22012 | division by zero',
    'ReadyForQuery failed',
  ])
})
