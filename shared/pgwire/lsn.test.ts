import { expect, test } from 'bun:test'
import { formatLsn, parseLsn } from './lsn.ts'

test.each([
  ['0/0', 0n],
  ['16/B374D848', 0x16b374d848n],
  ['FFFFFFFF/FFFFFFFF', 2n ** 64n - 1n],
  ['1/0', 2n ** 32n],
])('%s is %p', (text, lsn) => {
  expect(parseLsn(text)).toBe(lsn)
  expect(formatLsn(lsn)).toBe(text)
})

test('lower case is read too', () => {
  expect(parseLsn('a/ff')).toBe(0xa000000ffn)
})

test.each(['', '1', '/', '1/', '/1', '1/g', '123456789/0', '0/123456789', ' 0/0', '0/0\n', '-1/0'])(
  '%j is refused',
  (text) => {
    expect(() => parseLsn(text)).toThrow('invalid WAL position')
  },
)
