import { describe, expect, test } from 'bun:test'
import { formatConninfo, parseConninfo } from './conninfo.ts'
import { whyNoPrefix } from './prefix-proof.ts'

const leader = {
  timeline: 5,
  lsn: 900n,
  history: [
    { timeline: 1, switchLsn: 100n, reason: '' },
    { timeline: 3, switchLsn: 500n, reason: '' },
  ],
}

describe('own WAL against the leader', () => {
  test.each([
    ['before its fork', { timeline: 3, lsn: 499n }],
    ['exactly at its fork', { timeline: 3, lsn: 500n }],
    ['on an older timeline, before that fork', { timeline: 1, lsn: 100n }],
    ['on its timeline, behind', { timeline: 5, lsn: 900n }],
  ])('%s is a prefix', (_, own) => {
    expect(whyNoPrefix(own, leader)).toBeUndefined()
  })

  test.each([
    ['one byte past its fork', { timeline: 3, lsn: 501n }],
    ['past an older fork', { timeline: 1, lsn: 101n }],
    ['on a timeline that it never was on', { timeline: 4, lsn: 1n }],
    ['on a later timeline', { timeline: 6, lsn: 1n }],
    ['on its timeline, ahead', { timeline: 5, lsn: 901n }],
  ])('%s has diverged', (_, own) => {
    expect(whyNoPrefix(own, leader)).toBeString()
  })
})

describe('a conninfo', () => {
  test('gives back host and port, whatever stands in the other values', () => {
    const text = formatConninfo({
      host: "fe80::1%o'brien\\",
      port: 25432,
      applicationName: 'zone1_pooler1',
      passfile: "/tmp/a b/port='1'/x",
    })
    expect(parseConninfo(text)).toEqual({ host: "fe80::1%o'brien\\", port: 25432 })
  })

  test('that is empty or not ours names nobody', () => {
    expect(parseConninfo('')).toBeUndefined()
    expect(parseConninfo('host=a port=1')).toBeUndefined()
  })
})
