import { expect, test } from 'bun:test'
import { formatDuration, formatSize, parseDuration, parseSize } from './units.ts'

test('durations take the units of postgresql.conf', () => {
  const cases = { '5s': 5000, '1.5 h': 5_400_000, '250us': 0.25, '2d': 172_800_000, '0': 0 }
  for (const [text, ms] of Object.entries(cases)) expect(parseDuration(text)).toBe(ms)
})

test('sizes are powers of 1024', () => {
  const cases = { '64kB': 65_536, '1MB': 1_048_576, '.5 GB': 536_870_912, '7B': 7, '0': 0 }
  for (const [text, bytes] of Object.entries(cases)) expect(parseSize(text)).toBe(bytes)
})

test('a missing, unknown or wrongly cased unit is refused by name', () => {
  for (const text of ['5', '5S', '-1s', '', 's', '5 fortnights', '1e3s', '5toString']) {
    expect(() => parseDuration(text)).toThrow(`"${text}" is not a duration`)
  }
  for (const text of ['5', '5KB', '5mb', '5 kb']) {
    expect(() => parseSize(text)).toThrow(`"${text}" is not a size`)
  }
})

test('what is formatted parses to the same amount', () => {
  for (const ms of [0, 0.001, 0.25, 1.5, 1, 999, 1000, 90_000, 3_600_000, 2_592_000_000]) {
    expect(parseDuration(formatDuration(ms))).toBeCloseTo(ms, 9)
  }
  for (const bytes of [0, 1, 1000, 1024, 65_536, 3 * 2 ** 30]) {
    expect(parseSize(formatSize(bytes))).toBe(bytes)
  }
  expect([formatDuration(90_000), formatDuration(1.5), formatSize(65_536)]).toEqual([
    '90s',
    '1500us',
    '64kB',
  ])
})
