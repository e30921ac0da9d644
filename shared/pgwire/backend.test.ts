import { describe, expect, test } from 'bun:test'
import { cuts, int, str, val, wire } from '../../test/support/wire-bytes.ts'
import { decodeBackend, type BackendMessage } from './backend-decode.ts'
import * as backend from './backend.ts'
import { MessageReader } from './message-reader.ts'
import { TransactionStatus } from './message-types.ts'
import { describeBackend } from './transcript.ts'

const column = {
  name: 'a',
  tableOid: 16384,
  columnNumber: 2,
  typeOid: 25,
  typeSize: -1,
  typeModifier: -1,
  format: 0,
} as const
const salt = Buffer.from('salt')
const key = Buffer.from('0123456789abcdef0123456789abcdef')
const copyBytes = [int(1, 1), int(2, 2), int(2, 1), int(2, 1)]
const copy = { format: 1, columns: [1, 1] } as const
const copyMessage = { format: 1 as const, columns: [1 as const, 1 as const] }

/** Its line in a transcript, encoded, the bytes it must have, what must be read from them. */
const cases: [string, Buffer, Buffer, BackendMessage][] = [
  [
    'AuthenticationOk',
    backend.authenticationOk(),
    wire('R', int(4, 0)),
    { name: 'AuthenticationOk' },
  ],
  [
    'AuthenticationCleartextPassword',
    backend.authenticationCleartextPassword(),
    wire('R', int(4, 3)),
    { name: 'AuthenticationCleartextPassword' },
  ],
  [
    'AuthenticationMD5Password',
    backend.authenticationMd5Password(salt),
    wire('R', int(4, 5), salt),
    { name: 'AuthenticationMD5Password', salt },
  ],
  [
    'AuthenticationSASL SCRAM-SHA-256-PLUS,SCRAM-SHA-256',
    backend.authenticationSasl(['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256']),
    wire('R', int(4, 10), str('SCRAM-SHA-256-PLUS'), str('SCRAM-SHA-256'), '\0'),
    { name: 'AuthenticationSASL', mechanisms: ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'] },
  ],
  [
    'AuthenticationSASLContinue',
    backend.authenticationSaslContinue(salt),
    wire('R', int(4, 11), salt),
    { name: 'AuthenticationSASLContinue', data: salt },
  ],
  [
    'AuthenticationSASLFinal',
    backend.authenticationSaslFinal(salt),
    wire('R', int(4, 12), salt),
    { name: 'AuthenticationSASLFinal', data: salt },
  ],
  [
    'BackendKeyData 32 bytes',
    backend.backendKeyData(42, key),
    wire('K', int(4, 42), key),
    { name: 'BackendKeyData', processId: 42, key },
  ],
  [
    'ParameterStatus TimeZone=UTC',
    backend.parameterStatus('TimeZone', 'UTC'),
    wire('S', str('TimeZone'), str('UTC')),
    { name: 'ParameterStatus', parameter: 'TimeZone', value: 'UTC' },
  ],
  [
    'NegotiateProtocolVersion 3.2 _pq_.x',
    backend.negotiateProtocolVersion(0x30002, ['_pq_.x']),
    wire('v', int(4, 0x30002), int(4, 1), str('_pq_.x')),
    { name: 'NegotiateProtocolVersion', version: 0x30002, options: ['_pq_.x'] },
  ],
  [
    'ReadyForQuery transaction',
    backend.readyForQuery(TransactionStatus.InTransaction),
    wire('Z', 'T'),
    { name: 'ReadyForQuery', status: TransactionStatus.InTransaction },
  ],
  [
    'RowDescription a,b',
    backend.rowDescription([column, { name: 'b', typeOid: 23, typeSize: 4 }]),
    wire(
      'T',
      int(2, 2),
      str('a'),
      int(4, 16384),
      int(2, 2),
      int(4, 25),
      int(2, -1),
      int(4, -1),
      int(2, 0),
      str('b'),
      int(4, 0),
      int(2, 0),
      int(4, 23),
      int(2, 4),
      int(4, -1),
      int(2, 0),
    ),
    {
      name: 'RowDescription',
      columns: [
        column,
        { ...column, name: 'b', tableOid: 0, columnNumber: 0, typeOid: 23, typeSize: 4 },
      ],
    },
  ],
  [
    'DataRow 1,NULL,',
    backend.dataRow(['1', null, '']),
    wire('D', int(2, 3), val('1'), val(null), val('')),
    { name: 'DataRow', values: [Buffer.from('1'), null, Buffer.alloc(0)] },
  ],
  [
    'CommandComplete SELECT 1',
    backend.commandComplete('SELECT 1'),
    wire('C', str('SELECT 1')),
    { name: 'CommandComplete', tag: 'SELECT 1' },
  ],
  [
    'ParameterDescription 23,25',
    backend.parameterDescription([23, 25]),
    wire('t', int(2, 2), int(4, 23), int(4, 25)),
    { name: 'ParameterDescription', types: [23, 25] },
  ],
  ['ParseComplete', backend.parseComplete(), wire('1'), { name: 'ParseComplete' }],
  ['BindComplete', backend.bindComplete(), wire('2'), { name: 'BindComplete' }],
  ['CloseComplete', backend.closeComplete(), wire('3'), { name: 'CloseComplete' }],
  ['NoData', backend.noData(), wire('n'), { name: 'NoData' }],
  ['EmptyQueryResponse', backend.emptyQueryResponse(), wire('I'), { name: 'EmptyQueryResponse' }],
  ['PortalSuspended', backend.portalSuspended(), wire('s'), { name: 'PortalSuspended' }],
  [
    'NotificationResponse news hello',
    backend.notificationResponse(42, 'news', 'hello'),
    wire('A', int(4, 42), str('news'), str('hello')),
    { name: 'NotificationResponse', processId: 42, channel: 'news', payload: 'hello' },
  ],
  [
    'FunctionCallResponse x',
    backend.functionCallResponse('x'),
    wire('V', val('x')),
    { name: 'FunctionCallResponse', value: Buffer.from('x') },
  ],
  [
    'CopyInResponse',
    backend.copyInResponse(copy),
    wire('G', ...copyBytes),
    { name: 'CopyInResponse', ...copyMessage },
  ],
  [
    'CopyOutResponse',
    backend.copyOutResponse(copy),
    wire('H', ...copyBytes),
    { name: 'CopyOutResponse', ...copyMessage },
  ],
  [
    'CopyBothResponse',
    backend.copyBothResponse(),
    wire('W', int(1, 0), int(2, 0)),
    { name: 'CopyBothResponse', format: 0, columns: [] },
  ],
  [
    'CopyData a,b',
    backend.copyData(Buffer.from('a,b\n')),
    wire('d', 'a,b\n'),
    { name: 'CopyData', data: Buffer.from('a,b\n') },
  ],
  ['CopyDone', backend.copyDone(), wire('c'), { name: 'CopyDone' }],
]

/** Their bodies are as long as they like to be. */
const OPEN_ENDED = ['SASLContinue', 'SASLFinal', 'BackendKeyData', 'CopyData']

function readerAt(...chunks: Buffer[]): MessageReader {
  const reader = new MessageReader({ messageBytesMax: 1024 })
  for (const chunk of chunks) reader.feed(chunk)
  reader.next()
  return reader
}

describe.each(cases)('%s', (line, encoded, bytes, message) => {
  test('is encoded as the manual says', () => {
    expect(encoded).toEqual(bytes)
  })

  test('is decoded however it is cut', () => {
    for (const chunks of cuts(bytes)) expect(decodeBackend(readerAt(...chunks))).toEqual(message)
  })

  test('has its line in a transcript', () => {
    expect(describeBackend(readerAt(bytes))).toBe(line)
  })

  test('is refused when its body is cut short or goes on', () => {
    if (OPEN_ENDED.some((name) => message.name.includes(name))) return
    for (let end = 5; end < bytes.length; end += 1) {
      const short = Buffer.from(bytes.subarray(0, end))
      short.writeInt32BE(end - 1, 1)
      const reader = readerAt(Buffer.concat([short, Buffer.alloc(20)]))
      expect(() => decodeBackend(reader)).toThrow(expect.objectContaining({ sqlstate: '08P01' }))
    }
    const long = Buffer.concat([bytes, Buffer.from('x')])
    long.writeInt32BE(long.length - 1, 1)
    expect(() => decodeBackend(readerAt(long))).toThrow('invalid message format')
  })
})

test('an unknown type is refused', () => {
  expect(() => decodeBackend(readerAt(wire('!')))).toThrow('invalid backend message type 33')
})

test('an authentication request of another kind is told by its number', () => {
  const message = decodeBackend(readerAt(wire('R', int(4, 7))))
  expect(message).toEqual({ name: 'AuthenticationOther', request: 7, data: Buffer.alloc(0) })
})
