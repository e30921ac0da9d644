import { expect, test } from 'bun:test'
import { encodeRow } from './encode.ts'

/** The one value of a row in binary. */
function binary(type: 'text' | 'int4' | 'int8' | 'numeric', value: string | number): string {
  const row = encodeRow({ v: type }, { v: value }, [1])
  return row.subarray(11).toString('hex')
}

test('binary values are those of Postgres', () => {
  // As `select int4send(7)`, `int8send(7)`, `numeric_send(...)` give them.
  expect(binary('int4', 7)).toBe('00000007')
  expect(binary('int8', -1)).toBe('ffffffffffffffff')
  expect(binary('text', 'ü')).toBe('c3bc')
  expect(binary('numeric', 0)).toBe('0000000000000000')
  expect(binary('numeric', 1)).toBe('00010000000000000001')
  expect(binary('numeric', 10_000)).toBe('00010001000000000001')
  expect(binary('numeric', -123_456_789)).toBe('00030002400000000001' + '09291a85')
})

test('what does not fit an int4 is the largest one, and null stays null', () => {
  expect(binary('int4', 2 ** 40)).toBe('7fffffff')
  const row = encodeRow({ a: 'int4', b: 'text' }, {})
  expect(row.readInt32BE(7)).toBe(-1)
  expect(row.readInt32BE(11)).toBe(-1)
})
