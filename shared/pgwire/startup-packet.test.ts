import { describe, expect, test } from 'bun:test'
import { cuts, int, packet, str } from '../../test/support/wire-bytes.ts'
import {
  decodeStartupPacket,
  negotiate,
  StartupReader,
  unsupportedProtocol,
  type StartupMessage,
} from './startup-packet.ts'

const V3 = int(4, 0x30000)
const end = int(1, 0)
const parameters = (...texts: string[]) => packet(V3, ...texts.map(str), end)
const startup = (...texts: string[]) => decodeStartupPacket(parameters(...texts)) as StartupMessage
const withVersion = (version: number, ...texts: string[]) =>
  decodeStartupPacket(
    packet(int(4, version), ...['user', 'x', ...texts].map(str), end),
  ) as StartupMessage

describe('StartupMessage', () => {
  test('is sorted into what it asks for, settings in the order sent', () => {
    const asked = ['user', 'alice', 'DateStyle', 'ISO', 'database', 'shop', 'options', '-c a=b']
    expect(startup(...asked, 'application_name', 'x', 'DateStyle', 'SQL', '_pq_.y', '1')).toEqual({
      name: 'StartupMessage',
      version: 0x30000,
      user: 'alice',
      database: 'shop',
      replication: false,
      options: '-c a=b',
      settings: [
        ['DateStyle', 'ISO'],
        ['application_name', 'x'],
        ['DateStyle', 'SQL'],
      ],
      protocolOptions: ['_pq_.y'],
    })
  })

  test('the database defaults to the user, the last of two users counts', () => {
    expect(startup('user', 'a', 'user', 'b').user).toBe('b')
    expect(startup('user', 'b').database).toBe('b')
    expect(startup('user', 'b', 'database', '').database).toBe('b')
  })

  test('names are cut to 63 bytes, between characters', () => {
    const long = startup('user', 'p'.repeat(80), 'database', `${'p'.repeat(62)}äx`)
    expect(long.user).toBe('p'.repeat(63))
    expect(long.database).toBe('p'.repeat(62))
    expect(startup('user', 'p'.repeat(63)).user).toBe('p'.repeat(63))
  })

  test.each([
    ['database', 'database'],
    ['true', true],
    ['T', true],
    ['yes', true],
    ['on', true],
    ['1', true],
    ['false', false],
    ['n', false],
    ['of', false],
    ['0', false],
  ] as const)('replication=%s means %p', (value, means) => {
    const { replication, database } = startup('user', 'x', 'replication', value)
    expect(replication).toBe(means)
    expect(database).toBe(means === true ? '' : 'x')
  })

  test.each(['maybe', 'o', 'truely', ''])('replication=%s is refused', (value) => {
    expect(() => startup('user', 'x', 'replication', value)).toThrow(
      expect.objectContaining({
        sqlstate: '22023',
        severity: 'FATAL',
        message: `invalid value for parameter "replication": "${value}"`,
        hint: 'Valid values are: "false", 0, "true", 1, "database".',
      }),
    )
  })

  test('without a user it is refused', () => {
    const refusal = expect.objectContaining({
      sqlstate: '28000',
      message: 'no PostgreSQL user name specified in startup packet',
    })
    expect(() => startup()).toThrow(refusal)
    expect(() => startup('database', 'x')).toThrow(refusal)
    expect(() => startup('user', '')).toThrow(refusal)
  })

  test.each([
    ['no terminator', packet(V3, str('user'), str('x'))],
    ['bytes behind the terminator', packet(V3, str('user'), str('x'), end, 'x')],
    ['a second terminator', packet(V3, str('user'), str('x'), end, end)],
    ['a name without value', packet(V3, str('user'))],
    ['a value without end', packet(V3, str('user'), 'x')],
    ['nothing at all', packet(V3)],
  ])('with %s it is refused', (_, bytes) => {
    expect(() => decodeStartupPacket(bytes)).toThrow(
      expect.objectContaining({
        sqlstate: '08P01',
        message: 'invalid startup packet layout: expected terminator as last byte',
      }),
    )
  })

  test('with bytes that are no UTF-8 it is refused', () => {
    const bytes = packet(V3, str('user'), Buffer.from([0xff, 0]), end)
    expect(() => decodeStartupPacket(bytes)).toThrow(expect.objectContaining({ sqlstate: '22021' }))
  })
})

describe('requests', () => {
  test('for encryption are known', () => {
    expect(decodeStartupPacket(packet(int(4, 80877103)))).toEqual({ name: 'SSLRequest' })
    expect(decodeStartupPacket(packet(int(4, 80877104)))).toEqual({ name: 'GSSENCRequest' })
  })

  test.each([4, 32, 256])('to cancel carry a key of %p bytes', (count) => {
    const key = Buffer.alloc(count, 7)
    const bytes = packet(int(4, 80877102), int(4, 42), key)
    expect(decodeStartupPacket(bytes)).toEqual({ name: 'CancelRequest', processId: 42, key })
  })

  test.each([0, 257])('to cancel with a key of %p bytes are refused', (count) => {
    const bytes = packet(int(4, 80877102), int(4, 42), Buffer.alloc(count))
    expect(() => decodeStartupPacket(bytes)).toThrow('invalid length of cancel key')
  })

  test('to cancel without a process are refused', () => {
    expect(() => decodeStartupPacket(packet(int(4, 80877102)))).toThrow('invalid length')
  })

  test('of another kind are the caller’s', () => {
    const other = decodeStartupPacket(packet(int(4, 0x04d2abcd), 'more'))
    expect(other).toEqual({ name: 'OtherRequest', code: 0x04d2abcd, body: Buffer.from('more') })
    expect(unsupportedProtocol(0x40000)).toMatchObject({
      sqlstate: '0A000',
      severity: 'FATAL',
      message: 'unsupported frontend protocol 4.0: server supports 3.0 to 3.2',
    })
  })
})

describe('the version', () => {
  test.each([
    [0x30000, [], 0x30000, false],
    [0x30001, [], 0x30000, true],
    [0x30002, [], 0x30002, false],
    [0x30003, [], 0x30002, true],
    [0x30000 + 9999, [], 0x30002, true],
    [0x30000, ['_pq_.x'], 0x30000, true],
    [0x30002, ['_pq_.x', '_pq_.y'], 0x30002, true],
  ] as const)('%p with %p becomes %p, negotiated: %p', (asked, options, version, negotiated) => {
    const texts = options.flatMap((option) => [option, '1'])
    const negotiation = negotiated ? { version, options: [...options] } : undefined
    expect(negotiate(withVersion(asked, ...texts))).toEqual({ version, negotiation })
  })
})

describe('the stream', () => {
  const ssl = packet(int(4, 80877103))
  const hello = parameters('user', 'alice')

  test('gives packets however it is cut, and the rest to the caller', () => {
    for (const chunks of cuts(Buffer.concat([ssl, hello, Buffer.from('Q...')]))) {
      const reader = new StartupReader()
      const names: string[] = []
      for (const chunk of chunks) {
        reader.feed(chunk)
        while (names.length < 2) {
          const next = reader.next()
          if (next === undefined) break
          names.push(next.name)
        }
      }
      expect(names).toEqual(['SSLRequest', 'StartupMessage'])
      expect(reader.takeRest().toString()).toBe('Q...')
      expect(reader.takeRest().length).toBe(0)
    }
  })

  test.each([-1, 0, 3, 7, 10_005, 2 ** 31 - 1])('refuses a length of %p at once', (length) => {
    for (const chunks of cuts(Buffer.concat([int(4, length), Buffer.alloc(4)]))) {
      const reader = new StartupReader()
      const run = () => {
        for (const chunk of chunks) {
          reader.feed(chunk)
          reader.next()
        }
      }
      expect(run).toThrow('invalid length of startup packet')
    }
  })

  test('takes a packet as large as Postgres does', () => {
    const filler = 'x'.repeat(10_004 - parameters('user', 'x', 'a', '').length)
    const bytes = parameters('user', 'x', 'a', filler)
    expect(bytes.length).toBe(10_004)
    const reader = new StartupReader()
    reader.feed(bytes)
    expect(reader.next()?.name).toBe('StartupMessage')
  })
})
