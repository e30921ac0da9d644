import { expect, test } from 'bun:test'
import { discardChunk } from './discard-chunk.ts'

test('a large chunk of its own loses its bytes', () => {
  const chunk = Buffer.allocUnsafeSlow(64 * 1024)
  discardChunk(chunk)
  expect(chunk.length).toBe(0)
})

test('a view of something larger keeps them', () => {
  const whole = Buffer.alloc(64 * 1024, 7)
  const view = whole.subarray(0, 32 * 1024)
  discardChunk(view)
  expect(view[100]).toBe(7)
  expect(whole.length).toBe(64 * 1024)
})

test('a small chunk is left alone', () => {
  const chunk = Buffer.allocUnsafeSlow(100)
  discardChunk(chunk)
  expect(chunk.length).toBe(100)
})
