import { expect, test } from 'bun:test'
import { segmentName } from './wal-segment.ts'

const BYTES = 16n * 1024n * 1024n

test.each([
  [{ timeline: 1, lsn: 0n }, '000000010000000000000000'],
  [{ timeline: 0x1a, lsn: 3n * BYTES + 5n }, '0000001A0000000000000003'],
  [{ timeline: 2, lsn: 0x5_ff00_0000n }, '0000000200000005000000FF'],
])('a place is in the segment of its number', (place, name) => {
  expect(segmentName(place, BYTES)).toBe(name)
})
