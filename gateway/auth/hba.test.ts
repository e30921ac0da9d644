import { describe, expect, test } from 'bun:test'
import { readLines } from './hba-line.ts'
import { findRule } from './hba-match.ts'
import { parseHba } from './hba-parse.ts'
import type { Newcomer } from './hba-rule.ts'
import { isIn, maskOf, parseIp } from './ip-address.ts'

const ALICE: Newcomer = {
  unix: false,
  tls: false,
  address: parseIp('192.168.1.7'),
  user: 'alice',
  database: 'shop',
  physical: false,
}

/** The number of the line that is about a client; undefined for none. */
function lineFor(text: string, who: Partial<Newcomer> = {}, memberOf: string[] = []) {
  const { rules, problems } = parseHba(text)
  expect(problems).toEqual([])
  return findRule(rules, { ...ALICE, ...who }, new Set(memberOf))?.line
}

const problemsOf = (text: string): readonly string[] => parseHba(text).problems

describe('the words of a line', () => {
  const words = (text: string) =>
    readLines(text).map(({ fields }) => fields.map((f) => f.map((w) => w.text)))

  test('blanks part fields, commas part words, with blanks behind them too', () => {
    expect(words('host  a,b, c\tall')).toEqual([[['host'], ['a', 'b', 'c'], ['all']]])
  })

  test('a comment ends a line, but not inside quotes', () => {
    expect(words('local "a#b" x # y\n# only\n\n')).toEqual([[['local'], ['a#b'], ['x']]])
  })

  test('quotes keep blanks and commas, and two of them are one', () => {
    expect(words('local "a b,c" "d""e"')).toEqual([[['local'], ['a b,c'], ['d"e']]])
  })

  test('a backslash goes on in the next line, which is counted', () => {
    const lines = readLines('local all \\\n  all trust\r\nlocal x x trust')
    expect(lines.map(({ number, fields }) => [number, fields.length])).toEqual([
      [1, 4],
      [3, 4],
    ])
  })
})

describe('the first line that fits', () => {
  test('wins, whatever comes behind it', () => {
    const text = 'host all bob all trust\nhost all all all reject\nhost all all all trust'
    expect(lineFor(text)).toBe(2)
    expect(lineFor(text, { user: 'bob' })).toBe(1)
  })

  test('is none where no line fits', () => {
    expect(lineFor('local all all trust')).toBeUndefined()
  })

  test('goes by TLS', () => {
    const text =
      'hostssl all all all trust\nhostnossl all all all trust\nhostgssenc all all all trust'
    expect(lineFor(text)).toBe(2)
    expect(lineFor(text, { tls: true })).toBe(1)
    expect(lineFor('hostgssenc all all all trust')).toBeUndefined()
    expect(lineFor('hostnogssenc all all all trust')).toBe(1)
  })

  test('is a local one on a unix socket, and on nothing else', () => {
    const text = 'host all all all trust\nlocal all all trust'
    expect(lineFor(text, { unix: true, address: undefined })).toBe(2)
    expect(lineFor('local all all trust')).toBeUndefined()
  })

  test('knows sameuser, samerole and members', () => {
    expect(lineFor('host sameuser all all trust')).toBeUndefined()
    expect(lineFor('host sameuser all all trust', { database: 'alice' })).toBe(1)
    expect(lineFor('host samerole all all trust', {}, ['shop'])).toBe(1)
    expect(lineFor('host samegroup all all trust')).toBeUndefined()
    expect(lineFor('host all +staff all trust', {}, ['staff'])).toBe(1)
    expect(lineFor('host all +staff all trust')).toBeUndefined()
  })

  test('takes quoted keywords for plain names', () => {
    expect(lineFor('host "all" all all trust')).toBeUndefined()
    expect(lineFor('host "all" all all trust', { database: 'all' })).toBe(1)
    expect(lineFor('host all "+staff" all trust', {}, ['staff'])).toBeUndefined()
    expect(lineFor('host all "+staff" all trust', { user: '+staff' })).toBe(1)
  })

  test('of physical replication is one that names it; of logical one that fits its database', () => {
    const text = 'host all all all trust\nhost replication all all trust'
    expect(lineFor(text, { physical: true, database: '' })).toBe(2)
    expect(lineFor('host all all all trust', { physical: true, database: '' })).toBeUndefined()
    expect(lineFor('host replication all all trust')).toBeUndefined()
    const quoted = 'host "replication" all all trust'
    expect(lineFor(quoted, { physical: true, database: '' })).toBeUndefined()
  })

  test('knows networks, masks and both families', () => {
    expect(lineFor('host all all 192.168.1.0/24 trust')).toBe(1)
    expect(lineFor('host all all 192.168.2.0/24 trust')).toBeUndefined()
    expect(lineFor('host all all 192.168.0.0 255.255.0.0 trust')).toBe(1)
    expect(lineFor('host all all 0.0.0.0/0 trust')).toBe(1)
    expect(lineFor('host all all ::/0 trust')).toBeUndefined()
    expect(lineFor('host all all fe80::/10 trust', { address: parseIp('fe80::1%eth0') })).toBe(1)
    expect(lineFor('host all all 10.1.2.3/32 trust', { address: parseIp('::ffff:10.1.2.3') })).toBe(
      1,
    )
    expect(lineFor('host all all samehost trust', { address: parseIp('127.0.0.1') })).toBe(1)
    expect(
      lineFor('host all all samehost trust', { address: parseIp('203.0.113.9') }),
    ).toBeUndefined()
    expect(lineFor('host all all samenet trust', { address: parseIp('127.9.9.9') })).toBe(1)
  })
})

describe('a broken file', () => {
  test('says all that is wrong, by line', () => {
    const text = `host all all all md5
local all all trust
host all all nowhere.example trust
hostx all all all trust
host all all 10.0.0.0/33 trust
host all all 10.0.0.0 trust`
    expect(problemsOf(text).map((problem) => problem.slice(0, 8))).toEqual([
      'line 1: ',
      'line 3: ',
      'line 4: ',
      'line 5: ',
      'line 6: ',
    ])
    expect(problemsOf(text)[0]).toBe(
      'line 1: method "md5" is not supported: use scram-sha-256, and set md5 passwords anew',
    )
  })

  const BROKEN = [
    'host all all all',
    'host all',
    'host all all all ldap ldapserver=x',
    'host all @file all trust',
    'host /regexp all all trust',
    'host all all all cert',
    'host all all all scram-sha-256 clientcert=verify-full',
    'hostssl all all all cert clientcert=verify-ca',
    'hostssl all all all cert map=none',
    'hostssl all all all cert clientname=DN',
    'hostssl all all all trust map=m',
    'host all all all trust nonsense',
    'host all all 10.0.0.1,10.0.0.2 trust',
    'include other.conf',
    'map only two',
    '',
    '# nothing',
  ]
  for (const text of BROKEN) {
    test(`is ${JSON.stringify(text)}`, () => expect(problemsOf(text).length).toBe(1))
  }
})

test('a map goes with cert, and its lines stand in the same file', () => {
  const { rules, maps, problems } = parseHba('map m "Al Ice" alice\nhostssl all all all cert map=m')
  expect(problems).toEqual([])
  expect(rules[0]?.map).toBe('m')
  expect(maps).toEqual([{ map: 'm', name: 'Al Ice', role: 'alice' }])
})

test('addresses are read, cut and compared', () => {
  expect([...(parseIp('::ffff:1.2.3.4') ?? [])]).toEqual([1, 2, 3, 4])
  expect([...(parseIp('1:2::a') ?? [])]).toEqual([0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10])
  expect(parseIp('1.2.3')).toBeUndefined()
  expect(parseIp('')).toBeUndefined()
  expect([...maskOf(12, 4)]).toEqual([255, 240, 0, 0])
  const range = { address: Uint8Array.of(10, 5, 0, 0), mask: Uint8Array.of(255, 0, 255, 0) }
  expect(isIn(range, Uint8Array.of(10, 9, 0, 7))).toBe(true)
  expect(isIn(range, Uint8Array.of(10, 9, 1, 7))).toBe(false)
})
