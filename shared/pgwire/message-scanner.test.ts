import { describe, expect, test } from 'bun:test'
import { cuts, int, pieces, str, val, wire } from '../../test/support/wire-bytes.ts'
import { Random } from '../../test/support/random.ts'
import { MessageScanner } from './message-scanner.ts'
import { Backend } from './message-types.ts'

const INTEREST = [
  Backend.ReadyForQuery,
  Backend.ErrorResponse,
  Backend.ParameterStatus,
  Backend.ParseComplete,
  Backend.CopyInResponse,
]
const HOLD = 60
const scanner = () =>
  new MessageScanner({ interest: INTEREST, messageBytesMax: 2 ** 30, holdBytesMax: HOLD })

const status = wire('S', str('TimeZone'), str('UTC'))
const ready = wire('Z', 'I')
const failure = wire('E', str('SERROR'), str('C22012'), int(1, 0))
const long = wire('E', str(`M${'x'.repeat(100)}`), int(1, 0))
const row = wire('D', int(2, 1), val('abc'))
const messages = [
  wire('1'),
  wire('2'),
  row,
  status,
  wire('D', int(2, 1), val('x'.repeat(70))),
  failure,
  wire('n'),
  status,
  long,
  wire('C', str('SELECT 1')),
  ready,
]
const stream = Buffer.concat(messages)

type Seen = { type: number; body: string }

/** Forwards a stream as a pooler does, without its ParameterStatus; what passed, what was seen. */
function forward(chunks: readonly Buffer[]) {
  const subject = scanner()
  const passed: Buffer[] = []
  const seen: Seen[] = []
  for (const piece of chunks) {
    // A chunk is a part of a larger buffer, as for a link frame.
    const chunk = Buffer.concat([Buffer.from('ab'), piece, Buffer.from('cde')])
    const pass = (bytes: Buffer, start: number, end: number) =>
      void passed.push(Buffer.from(bytes.subarray(start, end)))
    let from = 2
    subject.feed(chunk, 2, 2 + piece.length)
    for (let type = subject.next(); type !== 0; type = subject.next()) {
      const { bytes, bodyStart, start, end, whole } = subject
      seen.push({ type, body: whole ? bytes.toString('latin1', bodyStart, end) : 'too long' })
      if (type === Backend.ParameterStatus) pass(chunk, from, subject.at)
      else if (subject.carried) pass(bytes, start, end)
      else continue
      from = subject.after
    }
    pass(chunk, from, subject.passEnd)
    expectBoundary(subject, Buffer.concat(passed))
    expect(subject.next()).toBe(0)
    chunk.fill(0xff) // nothing may hang on to a chunk
  }
  return { passed: Buffer.concat(passed), seen, subject }
}

/** `onBoundary` against a naive walk over everything passed. */
function expectBoundary(subject: MessageScanner, passed: Buffer): void {
  let at = 0
  while (passed.length - at >= 5) at += 1 + passed.readInt32BE(at + 1)
  expect(subject.onBoundary).toBe(at === passed.length)
}

const expectedPassed = Buffer.concat(messages.filter((message) => message !== status))
const expectedSeen = messages
  .filter((message) => INTEREST.includes(message[0] as (typeof INTEREST)[number]))
  .map((message) => ({
    type: message[0]!,
    body: message.length > HOLD ? 'too long' : message.toString('latin1', 5),
  }))

describe('a scanned stream', () => {
  test('passes and is seen the same however it is cut', () => {
    for (const chunks of cuts(stream)) {
      const { passed, seen, subject } = forward(chunks)
      expect(seen).toEqual(expectedSeen)
      expect(passed).toEqual(expectedPassed)
      expect(subject.heldBytes).toBe(0)
    }
  })

  test('passes and is seen the same when cut in three', () => {
    for (let first = 0; first < stream.length; first += 1) {
      for (const size of [1, 2, 4, 5, 6, 30]) {
        const second = first + size
        const ends = [stream.subarray(0, first), stream.subarray(first, second)]
        const { passed, seen } = forward([...ends, stream.subarray(second)])
        expect(seen).toEqual(expectedSeen)
        expect(passed).toEqual(expectedPassed)
      }
    }
  })

  test('passes and is seen the same in random order and pieces', () => {
    const random = new Random(7)
    for (let round = 0; round < 200; round += 1) {
      const order = Array.from({ length: 30 }, () => random.pick(messages))
      const bytes = Buffer.concat(order)
      const { passed, seen } = forward(pieces(bytes, 1 + round, () => random.next()))
      expect(passed).toEqual(Buffer.concat(order.filter((message) => message !== status)))
      expect(seen.length).toBe(
        order.filter((m) => expectedSeen.some((s) => s.type === m[0])).length,
      )
    }
  })
})

describe('offsets', () => {
  test('tell the last boundary and what may be passed', () => {
    const subject = scanner()
    const chunk = Buffer.concat([row, ready, row.subarray(0, 8)])
    subject.feed(chunk)
    expect(subject.next()).toBe(Backend.ReadyForQuery)
    expect(subject.bytes[subject.bodyStart]).toBe(0x49)
    expect(subject.carried).toBe(false)
    expect(subject.next()).toBe(0)
    expect(subject.boundary).toBe(row.length + ready.length)
    expect(subject.passEnd).toBe(chunk.length)
    expect(subject.onBoundary).toBe(false)
    subject.feed(row.subarray(8))
    expect(subject.next()).toBe(0)
    expect(subject.boundary).toBe(row.length - 8)
    expect(subject.onBoundary).toBe(true)
  })

  test('a cut message of interest is withheld and comes back whole', () => {
    const subject = scanner()
    subject.feed(Buffer.concat([row, ready.subarray(0, 3)]))
    expect(subject.next()).toBe(0)
    expect(subject.passEnd).toBe(row.length)
    expect(subject.onBoundary).toBe(true)
    expect(subject.heldBytes).toBe(3)
    subject.feed(Buffer.concat([ready.subarray(3), row]))
    expect(subject.next()).toBe(Backend.ReadyForQuery)
    expect(subject.carried).toBe(true)
    expect(subject.bytes.subarray(subject.start, subject.end)).toEqual(ready)
    expect([subject.at, subject.after]).toEqual([0, 3])
    expect(subject.next()).toBe(0)
    expect(subject.boundary).toBe(3 + row.length)
  })

  test('a message too large to hold is reported once, by its header, and passes', () => {
    const subject = scanner()
    subject.feed(long.subarray(0, 40))
    expect(subject.next()).toBe(Backend.ErrorResponse)
    expect(subject.whole).toBe(false)
    expect(subject.bodyLength).toBe(long.length - 5)
    expect(subject.next()).toBe(0)
    expect(subject.passEnd).toBe(40)
    expect(subject.onBoundary).toBe(false)
    subject.feed(Buffer.concat([long.subarray(40), ready]))
    expect(subject.next()).toBe(Backend.ReadyForQuery)
    expect(subject.at).toBe(long.length - 40)
  })

  test('a row of a gigabyte passes without being gathered', () => {
    const subject = scanner()
    subject.feed(Buffer.concat([Buffer.from('D'), int(4, 2 ** 30 - 2), Buffer.alloc(10)]))
    expect(subject.next()).toBe(0)
    const piece = Buffer.alloc(2 ** 20)
    for (let left = 2 ** 30 - 6 - 10; left > 0; left -= piece.length) {
      subject.feed(piece, 0, Math.min(left, piece.length))
      expect(subject.next()).toBe(0)
      expect(subject.heldBytes).toBe(0)
    }
    expect(subject.onBoundary).toBe(true)
    subject.feed(ready)
    expect(subject.next()).toBe(Backend.ReadyForQuery)
  })
})

describe('lengths', () => {
  test.each([
    ['Z', 3],
    ['Z', -1],
    ['D', 3],
    ['D', -5],
    ['D', 2 ** 30],
    ['E', 2 ** 30],
    ['\0', 8],
  ])('%j %p are refused at any cut', (type, length) => {
    const bad = Buffer.concat([ready, Buffer.from(type), int(4, length), Buffer.alloc(8)])
    for (const chunks of cuts(bad)) {
      const subject = scanner()
      const run = () => {
        for (const chunk of chunks) {
          subject.feed(chunk)
          while (subject.next() !== 0);
        }
      }
      expect(run).toThrow('invalid message length')
    }
  })
})
