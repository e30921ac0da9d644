import { expect, test } from 'bun:test'
import { crc32c } from './crc32c.ts'

test('CRC-32C has the value of its published check', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
})
