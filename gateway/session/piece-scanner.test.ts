import { describe, expect, test } from 'bun:test'
import {
  bind,
  copyData,
  execute,
  flush,
  functionCall,
  parse,
  query,
  sync,
  terminate,
} from '../../shared/pgwire/frontend.ts'
import { InputWindow } from './input-window.ts'
import { Found, PIECE_BYTES, PieceScanner } from './piece-scanner.ts'

const LIMITS = { statementBytesMax: 1024 * 1024, messageBytesMax: 1024 * 1024 * 1024 }

function scan(bytes: Uint8Array, rest = true): [Found, number] {
  const window = new InputWindow()
  window.add(Buffer.from(bytes))
  const scanner = new PieceScanner()
  return [scanner.scan(window, rest, LIMITS), scanner.end]
}

const run = Buffer.concat([parse('select 1'), bind(), execute()])

describe('what can be sent next', () => {
  test.each([
    ['a Query', query('select 1'), Found.Simple],
    ['a FunctionCall', functionCall(1598), Found.Simple],
    ['messages and a Sync', Buffer.concat([run, sync()]), Found.Synced],
    ['messages and a Flush', Buffer.concat([run, flush()]), Found.Part],
    ['copy data at rest', copyData(Buffer.from('x')), Found.Stray],
  ])('%s, found at its last byte and not before', (_name, bytes, found) => {
    for (let cut = 0; cut < bytes.length; cut++) {
      const [early] = scan(bytes.subarray(0, cut))
      if (found === Found.Stray && cut >= 5) expect(early).toBe(Found.Stray)
      else expect(early).toBe(Found.Nothing)
    }
    expect(scan(bytes)).toEqual([found, bytes.length])
    expect(scan(Buffer.concat([bytes, query('select 2')]))).toEqual([found, bytes.length])
  })

  test('what was looked at is not looked at again', () => {
    const bytes = Buffer.concat([run, sync()])
    const window = new InputWindow()
    const scanner = new PieceScanner()
    for (const byte of bytes.subarray(0, -1)) {
      window.add(Buffer.from([byte]))
      expect(scanner.scan(window, true, LIMITS)).toBe(Found.Nothing)
    }
    expect(window.scan).toBe(run.length)
    window.add(bytes.subarray(-1))
    expect(scanner.scan(window, true, LIMITS)).toBe(Found.Synced)
  })

  test('a Query behind unsynced messages ends before it, once it is whole', () => {
    const behind = Buffer.concat([run, query('select 2')])
    expect(scan(behind.subarray(0, -1))[0]).toBe(Found.Nothing)
    expect(scan(query('select 2').subarray(0, -1), false)[0]).toBe(Found.Nothing)
    expect(scan(Buffer.concat([run, query('select 2')]))).toEqual([Found.QueryBehind, run.length])
    expect(scan(query('select 2'), false)).toEqual([Found.QueryBehind, 0])
  })

  test('Terminate, types and lengths that cannot be', () => {
    expect(scan(Buffer.concat([run, terminate()]))[0]).toBe(Found.Terminate)
    expect(scan(Buffer.from([1, 0, 0, 0, 4]))[0]).toBe(Found.BadType)
    expect(scan(Buffer.from([0x51, 0, 0, 0, 3]))[0]).toBe(Found.BadLength)
    expect(scan(Buffer.from([0x51, 0x7f, 0, 0, 0]))[0]).toBe(Found.BadLength)
    expect(scan(Buffer.from([0x53, 0, 0, 0x40, 0]))[0]).toBe(Found.BadLength)
    expect(scan(Buffer.from([0x50, 0, 0x20, 0, 0]))[0]).toBe(Found.TooLong)
  })

  test('many messages without a Sync go in parts', () => {
    const many = Buffer.concat(Array.from({ length: 3000 }, () => run))
    const [found, end] = scan(many)
    expect(found).toBe(Found.Part)
    expect(end).toBeGreaterThanOrEqual(PIECE_BYTES)
    expect(end).toBeLessThan(PIECE_BYTES + 100)
  })

  test('a large Bind goes alone and cut, before it is whole', () => {
    const large = bind({ values: ['x'.repeat(5 * PIECE_BYTES)] })
    const start = large.subarray(0, PIECE_BYTES + 10)
    expect(scan(Buffer.concat([run, start]))).toEqual([Found.Part, run.length])
    expect(scan(start)).toEqual([Found.Cut, PIECE_BYTES])
    expect(scan(large.subarray(0, PIECE_BYTES - 1))[0]).toBe(Found.Nothing)
  })

  test('a large Parse is waited for, and then cut', () => {
    const large = parse(`select '${'x'.repeat(3 * PIECE_BYTES)}'`)
    expect(scan(large.subarray(0, -1))[0]).toBe(Found.Nothing)
    expect(scan(large)).toEqual([Found.Cut, PIECE_BYTES])
  })

  test('a Query over the limit of texts goes before it is whole', () => {
    const large = query(`select '${'x'.repeat(2 * 1024 * 1024)}'`)
    expect(scan(large.subarray(0, PIECE_BYTES))).toEqual([Found.Simple, PIECE_BYTES])
  })
})
