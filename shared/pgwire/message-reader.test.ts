import { describe, expect, test } from 'bun:test'
import { cuts, int, pieces, str, val, wire } from '../../test/support/wire-bytes.ts'
import { MessageReader } from './message-reader.ts'

const reader = (messageBytesMax = 1024) => new MessageReader({ messageBytesMax })
const fed = (...chunks: Buffer[]) => {
  const result = reader()
  for (const chunk of chunks) result.feed(chunk)
  result.next()
  return result
}

const messages = [
  wire('Q', str('select 1')),
  wire('S'),
  wire('D', int(2, 2), val('abc'), val(null)),
  wire('H'),
  wire('d', 'x'.repeat(300)),
  wire('Z', 'I'),
]
const stream = Buffer.concat(messages)

/** Reads all there is; the views are looked at by the caller, later. */
function take(from: MessageReader): Buffer[] {
  const views: Buffer[] = []
  while (from.next() !== undefined) views.push(from.message())
  return views
}

describe('messages', () => {
  test('come out whole however the stream is cut, and views stay intact', () => {
    for (const chunks of cuts(stream)) {
      const subject = reader()
      const views = chunks.flatMap((chunk) => {
        subject.feed(chunk)
        return take(subject)
      })
      expect(views).toEqual(messages)
      expect(subject.buffered).toBe(0)
    }
  })

  test('come out whole when several chunks are fed before reading', () => {
    for (let at = 0; at <= stream.length; at += 1) {
      for (const second of [at + 1, at + 6, at + 40]) {
        const subject = reader()
        const views: Buffer[] = []
        for (const chunk of [stream.subarray(0, at), stream.subarray(at, second)]) {
          subject.feed(Buffer.from(chunk))
        }
        if (subject.next() !== undefined) views.push(subject.message())
        subject.feed(Buffer.from(stream.subarray(second)))
        views.push(...take(subject))
        expect(views).toEqual(messages)
      }
    }
  })

  test('come out whole in random pieces, many times over', () => {
    let seed = 1
    const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647
    const many = Array.from({ length: 50 }, (_, index) => wire('d', 'y'.repeat(index * 7)))
    for (let round = 0; round < 100; round += 1) {
      const subject = reader()
      const views: Buffer[] = []
      for (const chunk of pieces(Buffer.concat(many), 1 + round * 5, random)) {
        subject.feed(chunk)
        if (random() < 0.8) views.push(...take(subject))
      }
      views.push(...take(subject))
      expect(views).toEqual(many)
    }
  })

  test('left unread are not copied again with every chunk', () => {
    const subject = reader()
    const buffers = new Set<Buffer>()
    const many = Array.from({ length: 500 }, (_, index) => wire('d', 'z'.repeat(index % 9)))
    for (const byte of Buffer.concat(many)) {
      subject.feed(Buffer.from([byte]))
      buffers.add(subject.buffer)
    }
    expect(buffers.size).toBeLessThan(20)
    expect(take(subject)).toEqual(many)
  })

  test('that lie whole in a chunk are not copied', () => {
    const chunk = Buffer.concat([wire('S').subarray(2), wire('Q', str('x')), wire('H')])
    const subject = reader()
    subject.feed(wire('S').subarray(0, 2))
    subject.feed(chunk)
    const buffers = new Set<ArrayBufferLike>()
    while (subject.next() !== undefined) {
      if (subject.type !== 0x53) buffers.add(subject.message().buffer)
    }
    expect([...buffers]).toEqual([chunk.buffer])
  })

  test('are found by offsets without a view', () => {
    const subject = fed(stream)
    expect(subject.next()).toBe(0x53)
    const { buffer, start, end } = subject
    expect(buffer.subarray(start, end)).toEqual(messages[1]!)
  })

  test('tell their type and sizes', () => {
    const subject = reader()
    expect(subject.type).toBe(0)
    subject.feed(stream)
    expect(subject.type).toBe(0)
    expect(subject.next()).toBe(0x51)
    expect(subject.type).toBe(0x51)
    expect(subject.bodyLength).toBe(9)
    expect(subject.remaining).toBe(9)
    subject.cstring()
    expect(subject.remaining).toBe(0)
    subject.rewind()
    expect(subject.remaining).toBe(9)
    expect(subject.buffered).toBe(stream.length - messages[0]!.length)
  })
})

describe('fields', () => {
  test('of every kind are read', () => {
    const numbers = [int(1, -2), int(1, 254), int(2, -3), int(2, 65533), int(4, -4)]
    const large = [int(4, 4294967292), int(8, -5), int(8, 2n ** 64n - 5n)]
    const subject = fed(wire('x', ...numbers, ...large, str('ä'), str('b'), 'cd', val('e'), 'rest'))
    expect(subject.int8()).toBe(-2)
    expect(subject.uint8()).toBe(254)
    expect(subject.int16()).toBe(-3)
    expect(subject.uint16()).toBe(65533)
    expect(subject.int32()).toBe(-4)
    expect(subject.uint32()).toBe(4294967292)
    expect(subject.int64()).toBe(-5n)
    expect(subject.uint64()).toBe(2n ** 64n - 5n)
    expect(subject.cstring()).toBe('ä')
    expect(subject.cstringView().toString()).toBe('b')
    expect(subject.bytes(2).toString()).toBe('cd')
    expect(subject.value()?.toString()).toBe('e')
    expect(subject.rest().toString()).toBe('rest')
    subject.expectEnd()
  })

  const past: [string, (from: MessageReader) => unknown][] = [
    ['int8', (from) => from.int8()],
    ['int16', (from) => from.int16()],
    ['int32', (from) => from.int32()],
    ['int64', (from) => from.int64()],
    ['view', (from) => from.view(1)],
    ['bytes', (from) => from.bytes(1)],
    ['a negative view', (from) => from.view(-1)],
    ['cstring', (from) => from.cstring()],
    ['cstringView', (from) => from.cstringView()],
  ]
  test.each(past)('%s cannot leave its message', (_, read) => {
    // What follows would satisfy every reader.
    const subject = fed(Buffer.concat([wire('S'), wire('Q', Buffer.alloc(16))]))
    expect(() => read(subject)).toThrow(expect.objectContaining({ sqlstate: '08P01' }))
    expect(subject.next()).toBe(0x51)
  })

  test('a string without NUL is refused even where the next message has one', () => {
    const subject = fed(Buffer.concat([wire('Q', 'abc'), wire('Q', str(''))]))
    expect(() => subject.cstring()).toThrow('invalid string in message')
  })

  test('a value of impossible length is refused', () => {
    expect(() => fed(wire('D', int(4, -2))).value()).toThrow('insufficient data left in message')
    expect(() => fed(wire('D', int(4, 3), 'ab')).value()).toThrow('insufficient data')
  })

  test('bytes left over are noticed', () => {
    expect(() => fed(wire('S', 'x')).expectEnd()).toThrow('invalid message format')
  })
})

describe('lengths', () => {
  test.each([-1, 0, 3, 1024, 2 ** 31 - 1])('of %p are refused at any cut', (length) => {
    const bad = Buffer.concat([Buffer.from('Q'), int(4, length), Buffer.alloc(8)])
    for (const chunks of cuts(bad)) {
      const subject = reader()
      const run = () => {
        for (const chunk of chunks) {
          subject.feed(chunk)
          subject.next()
        }
      }
      expect(run).toThrow(
        expect.objectContaining({ message: 'invalid message length', severity: 'FATAL' }),
      )
    }
  })

  test('up to the limit are taken, and the limit can be raised', () => {
    const subject = reader(20)
    subject.feed(wire('d', 'x'.repeat(15)))
    expect(subject.next()).toBe(0x64)
    subject.messageBytesMax = 21
    subject.feed(wire('d', 'x'.repeat(16)))
    expect(subject.next()).toBe(0x64)
  })

  test('claimed but not sent cost no memory', () => {
    const subject = reader(2 ** 30)
    subject.feed(Buffer.concat([Buffer.from('Q'), int(4, 2 ** 29)]))
    subject.feed(Buffer.alloc(100))
    expect(subject.next()).toBeUndefined()
    expect(subject.buffer.length).toBeLessThan(1000)
  })
})
