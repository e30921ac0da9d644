import { describe, expect, test } from 'bun:test'
import { differenceMessages } from './difference.ts'
import { literal, isPlainName, settingName } from './quoting.ts'
import { SettingsTable, type SettingPair, type SettingsSet } from './settings-set.ts'

const table = new SettingsTable(2 ** 20)

function set(...pairs: SettingPair[]): SettingsSet {
  return table.hold(pairs) as SettingsSet
}

function texts(from: SettingsSet, to: SettingsSet, encoding = 'UTF8'): string[] {
  return differenceMessages(from, to, encoding).map((message) =>
    message.toString('utf8', 5, message.length - 1),
  )
}

describe('the unit that turns one set into another', () => {
  test('is empty when nothing differs', () => {
    expect(texts(set(['work_mem', '1MB']), set(['work_mem', '1MB']))).toEqual([])
  })

  test('resets what is not wanted and sets the rest', () => {
    const from = set(['work_mem', '1MB'], ['enable_sort', 'off'], ['app.a', 'x'])
    const to = set(['work_mem', '2MB'], ['app.a', 'x'])
    expect(texts(from, to)).toEqual([`RESET "enable_sort";SET "work_mem" = E'2MB'`])
  })

  test('switches a timeout off first and on last', () => {
    const from = set(['statement_timeout', '1ms'])
    expect(texts(from, set(['work_mem', '2MB']))).toEqual([
      `SET statement_timeout = 0;SET "work_mem" = E'2MB';RESET statement_timeout`,
    ])
    expect(texts(from, set(['statement_timeout', '1ms'], ['work_mem', '2MB']))).toEqual([
      `SET statement_timeout = 0;SET "work_mem" = E'2MB';SET statement_timeout = E'1ms'`,
    ])
  })

  test('takes authorities back first and puts them on last, session before role', () => {
    const from = set(['role', 'a'], ['session_authorization', 'b'])
    const to = set(['role', 'c'], ['session_authorization', 'd'], ['log_min_messages', 'error'])
    expect(texts(from, to)).toEqual([
      'RESET session_authorization;RESET role;' +
        `SET "log_min_messages" = E'error';` +
        `SET session_authorization = E'd';SET role = E'c'`,
    ])
  })

  test('does so too when the authorities are the same and something else differs', () => {
    const to = set(['role', 'a'], ['log_min_messages', 'error'])
    expect(texts(set(['role', 'a']), to)).toEqual([
      `RESET session_authorization;RESET role;SET "log_min_messages" = E'error';SET role = E'a'`,
    ])
  })

  test('gives lists as they are, in a transaction that cannot wait', () => {
    expect(texts(set(), set(['search_path', 'a, "B"'], ['work_mem', '1MB']))).toEqual([
      `SET "work_mem" = E'1MB';` +
        'BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY NOT DEFERRABLE;' +
        `SELECT pg_catalog.set_config(E'search_path', E'a, "B"', false);COMMIT`,
    ])
  })

  test('has client_encoding in messages of its own', () => {
    const to = set(['app.word', 'ä'], ['client_encoding', 'LATIN1'])
    expect(texts(set(), to)).toEqual([`SET "app"."word" = E'ä'`, `SET client_encoding = E'LATIN1'`])
    expect(texts(set(['client_encoding', 'LATIN1']), set(['app.word', 'ä']), 'LATIN1')).toEqual([
      "SET client_encoding = 'UTF8'",
      `SET "app"."word" = E'ä'`,
      'RESET client_encoding',
    ])
    expect(texts(set(), set(['client_encoding', 'SJIS']))).toEqual([
      `SET client_encoding = E'SJIS'`,
    ])
  })
})

describe('quoting', () => {
  test('literals and names', () => {
    expect(literal(`a'b\\c`)).toBe(`E'a''b\\\\c'`)
    expect(settingName('app.te"nant')).toBe('"app"."te""nant"')
  })

  test('names that can be asked for', () => {
    const plain = ['work_mem', 'app.tenant', 'a.b.c', '_x.y$1']
    const others = ['', '.', 'a.', 'ä.b', 'a b', "a'", 'A.b']
    expect(plain.filter((name) => !isPlainName(name))).toEqual([])
    expect(others.filter(isPlainName)).toEqual([])
  })
})

describe('the table of sets', () => {
  test('shares equal sets, counts their holders and forgets the rest', () => {
    const own = new SettingsTable(60)
    const one = own.hold([
      ['a', '1'],
      ['b', '2'],
    ]) as SettingsSet
    expect(
      own.hold([
        ['b', '2'],
        ['a', '1'],
      ]),
    ).toBe(one)
    expect(own.hold([['c', 'x'.repeat(60)]])).toBeUndefined()
    own.keep(one)
    for (let holders = 3; holders > 0; holders--) {
      expect(own.size).toBe(1)
      own.drop(one)
    }
    expect(own.size).toBe(0)
    const again = own.hold([['c', 'x'.repeat(40)]]) as SettingsSet
    expect(again.json.length).toBeGreaterThan(40)
  })
})
