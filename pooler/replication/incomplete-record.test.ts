import { describe, expect, test } from 'bun:test'
import { isIncomplete, overhangs } from './incomplete-record.ts'

const PAGE = 8192n
const SEGMENT = 16n * 1024n * 1024n
const LAYOUT = { pageBytes: PAGE, segmentBytes: SEGMENT }
/** In the second segment. */
const BASE = SEGMENT

describe('what was received and not replayed', () => {
  test.each([
    ['a record whose end is past the page that was received', PAGE - 24n, 100, PAGE],
    ['one of three pages, of which two are there', PAGE + 100n, 20_000, 3n * PAGE],
    ['one that lacks its last byte', PAGE + 100n, 50, PAGE + 149n],
    ['the header of a page, and no record', PAGE, 0, PAGE + 24n],
    ['the header of a segment, and no record', 0n, 0, 40n],
  ])('%s is incomplete', (_, replayed, length, received) => {
    expect(
      isIncomplete({ replayed: BASE + replayed, length, previous: 0n }, BASE + received, LAYOUT),
    ).toBe(true)
  })

  test.each([
    ['a whole record', PAGE + 100n, 50, PAGE + 150n],
    ['a whole record at the start of a page', PAGE, 50, PAGE + 74n],
    ['a whole record at the start of a segment', 0n, 50, 90n],
    ['a whole record over two pages', PAGE - 24n, 100, PAGE + 24n + 76n],
    ['a whole record that fills its page', PAGE - 48n, 48, PAGE],
    ['a length that no record has', PAGE + 100n, 0, 2n * PAGE],
    ['too short a length', PAGE + 100n, 23, PAGE + 110n],
  ])('%s is more than a part of one', (_, replayed, length, received) => {
    expect(
      isIncomplete({ replayed: BASE + replayed, length, previous: 0n }, BASE + received, LAYOUT),
    ).toBe(false)
  })
})

describe('what lies behind the end', () => {
  const end = BASE + PAGE + 100n
  const tail = { replayed: end, length: 50, previous: end - 40n }
  const last = BASE + SEGMENT - 80n

  test.each([
    ['a long record', { ...tail, length: 100_000 }],
    ['a short one that goes on in the next segment', { ...tail, replayed: last, length: 100 }],
  ])('%s is in the way on another timeline', (_, at) => {
    expect(overhangs(at, LAYOUT)).toBe(true)
  })

  test.each([
    ['nothing', { ...tail, length: 0, previous: 0n }],
    ['a short record', tail],
    ['one that ends with its segment', { ...tail, replayed: last, length: 80 }],
    ['what the file held before', { ...tail, length: 100_000, previous: end + 1_000_000n }],
  ])('%s is not', (_, at) => {
    expect(overhangs(at, LAYOUT)).toBe(false)
  })
})
