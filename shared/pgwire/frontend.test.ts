import { describe, expect, test } from 'bun:test'
import { cuts, int, packet, str, val, wire } from '../../test/support/wire-bytes.ts'
import { decodeFrontend, decodePassword, decodeSaslInitialResponse } from './frontend-decode.ts'
import type { FrontendMessage } from './frontend-decode.ts'
import * as frontend from './frontend.ts'
import { MessageReader } from './message-reader.ts'

const empty = Buffer.alloc(0)

/** Encoded, the bytes it must have, and what must be read from them. */
const cases: [string, Buffer, Buffer, FrontendMessage][] = [
  [
    'Query',
    frontend.query("select 'ä'"),
    wire('Q', str("select 'ä'")),
    { name: 'Query', text: "select 'ä'" },
  ],
  [
    'Parse',
    frontend.parse('select $1', { name: 's', types: [23, 4294967295] }),
    wire('P', str('s'), str('select $1'), int(2, 2), int(4, 23), int(4, -1)),
    { name: 'Parse', statement: 's', text: 'select $1', types: [23, 4294967295] },
  ],
  [
    'Parse of the unnamed',
    frontend.parse('select 1'),
    wire('P', str(''), str('select 1'), int(2, 0)),
    { name: 'Parse', statement: '', text: 'select 1', types: [] },
  ],
  [
    'Bind',
    frontend.bind({
      portal: 'p',
      statement: 's',
      formats: [0, 1],
      values: ['ä', Buffer.from([0, 1]), null, ''],
      resultFormats: [1],
    }),
    wire(
      'B',
      str('p'),
      str('s'),
      int(2, 2),
      int(2, 0),
      int(2, 1),
      int(2, 4),
      val('ä'),
      int(4, 2),
      '\0\x01',
      int(4, -1),
      int(4, 0),
      int(2, 1),
      int(2, 1),
    ),
    {
      name: 'Bind',
      portal: 'p',
      statement: 's',
      formats: [0, 1],
      values: [Buffer.from('ä'), Buffer.from([0, 1]), null, empty],
      resultFormats: [1],
    },
  ],
  [
    'Describe',
    frontend.describe({ statement: 's' }),
    wire('D', 'S', str('s')),
    { name: 'Describe', target: { statement: 's' } },
  ],
  ['Close', frontend.close(), wire('C', 'P', str('')), { name: 'Close', target: { portal: '' } }],
  [
    'Execute',
    frontend.execute({ portal: 'p', rowsMax: 7 }),
    wire('E', str('p'), int(4, 7)),
    { name: 'Execute', portal: 'p', rowsMax: 7 },
  ],
  ['Flush', frontend.flush(), wire('H'), { name: 'Flush' }],
  ['Sync', frontend.sync(), wire('S'), { name: 'Sync' }],
  ['Terminate', frontend.terminate(), wire('X'), { name: 'Terminate' }],
  [
    'CopyData',
    frontend.copyData(Buffer.from('a\tb\n')),
    wire('d', 'a\tb\n'),
    { name: 'CopyData', data: Buffer.from('a\tb\n') },
  ],
  ['CopyDone', frontend.copyDone(), wire('c'), { name: 'CopyDone' }],
  ['CopyFail', frontend.copyFail('no'), wire('f', str('no')), { name: 'CopyFail', reason: 'no' }],
  [
    'FunctionCall',
    frontend.functionCall(1299, { formats: [1], arguments: ['x', null], resultFormat: 1 }),
    wire('F', int(4, 1299), int(2, 1), int(2, 1), int(2, 2), val('x'), val(null), int(2, 1)),
    {
      name: 'FunctionCall',
      oid: 1299,
      formats: [1],
      arguments: [Buffer.from('x'), null],
      resultFormat: 1,
    },
  ],
  [
    'SASLResponse',
    frontend.saslResponse(Buffer.from('c=biws')),
    wire('p', 'c=biws'),
    { name: 'PasswordMessage', body: Buffer.from('c=biws') },
  ],
]

function readerAt(...chunks: Buffer[]): MessageReader {
  const reader = new MessageReader({ messageBytesMax: 1024 })
  for (const chunk of chunks) reader.feed(chunk)
  reader.next()
  return reader
}

describe.each(cases)('%s', (_, encoded, bytes, message) => {
  test('is encoded as the manual says', () => {
    expect(encoded).toEqual(bytes)
  })

  test('is decoded however it is cut', () => {
    for (const chunks of cuts(bytes)) expect(decodeFrontend(readerAt(...chunks))).toEqual(message)
  })

  test('is refused when its body is cut short or goes on', () => {
    if (message.name === 'CopyData' || message.name === 'PasswordMessage') return
    for (let end = 5; end < bytes.length; end += 1) {
      const short = Buffer.from(bytes.subarray(0, end))
      short.writeInt32BE(end - 1, 1)
      const reader = readerAt(Buffer.concat([short, Buffer.alloc(20)]))
      expect(() => decodeFrontend(reader)).toThrow(expect.objectContaining({ sqlstate: '08P01' }))
    }
    const long = Buffer.concat([bytes, Buffer.from('x')])
    long.writeInt32BE(long.length - 1, 1)
    expect(() => decodeFrontend(readerAt(long))).toThrow('invalid message format')
  })
})

test('answers to authentication requests are told apart by who reads them', () => {
  expect(frontend.password('x')).toEqual(wire('p', str('x')))
  expect(decodePassword(readerAt(wire('p', str('x'))))).toBe('x')
  const initial = wire('p', str('SCRAM-SHA-256'), val('n,,'))
  expect(frontend.saslInitialResponse('SCRAM-SHA-256', Buffer.from('n,,'))).toEqual(initial)
  const decoded = decodeSaslInitialResponse(readerAt(initial))
  expect(decoded).toEqual({ mechanism: 'SCRAM-SHA-256', response: Buffer.from('n,,') })
  const without = wire('p', str('SCRAM-SHA-256'), int(4, -1))
  expect(frontend.saslInitialResponse('SCRAM-SHA-256', null)).toEqual(without)
  expect(decodeSaslInitialResponse(readerAt(without)).response).toBeNull()
})

test('packets before a session have no type', () => {
  const user = packet(int(4, 0x30002), str('user'), str('x'), int(1, 0))
  expect(frontend.startup({ user: 'x' })).toEqual(user)
  const pairs = [
    ['a', '1'],
    ['a', '2'],
  ] as const
  const twice = packet(int(4, 0x30000), str('a'), str('1'), str('a'), str('2'), int(1, 0))
  expect(frontend.startup(pairs, 0x30000)).toEqual(twice)
  expect(frontend.sslRequest()).toEqual(packet(int(2, 1234), int(2, 5679)))
  expect(frontend.gssEncRequest()).toEqual(packet(int(2, 1234), int(2, 5680)))
  const key = Buffer.from('0123456789')
  const cancel = packet(int(2, 1234), int(2, 5678), int(4, 42), key)
  expect(frontend.cancelRequest(42, key)).toEqual(cancel)
})

test('what a frontend cannot say is refused', () => {
  expect(() => decodeFrontend(readerAt(wire('!')))).toThrow('invalid frontend message type 33')
  expect(() => decodeFrontend(readerAt(wire('D', 'X', str(''))))).toThrow(
    'invalid DESCRIBE message subtype 88',
  )
  expect(() => decodeFrontend(readerAt(wire('C', 'X', str(''))))).toThrow(
    'invalid CLOSE message subtype 88',
  )
  const format = wire('B', str(''), str(''), int(2, 1), int(2, 2), int(2, 0), int(2, 0))
  expect(() => decodeFrontend(readerAt(format))).toThrow('unsupported format code: 2')
})

test('a text with NUL cannot be smuggled into a message', () => {
  expect(() => frontend.query('select 1\0drop')).toThrow('NUL')
  expect(frontend.sync()).toEqual(wire('S')) // and what was begun is forgotten
})

test('a message larger than the writer keeps is whole', () => {
  const text = 'x'.repeat(200_000)
  expect(frontend.query(text)).toEqual(wire('Q', str(text)))
  const values = Array.from({ length: 65535 }, () => null)
  const bound = frontend.bind({ values })
  expect(bound.length).toBe(1 + 4 + 2 + 2 + 2 + 4 * 65535 + 2)
  const reader = new MessageReader({ messageBytesMax: 2 ** 20 })
  reader.feed(bound)
  reader.next()
  expect(decodeFrontend(reader)).toEqual(expect.objectContaining({ values }))
})
