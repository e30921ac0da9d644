// Goal: psql's variables and backslash commands are read as psql reads them.
import { expect, test } from 'bun:test'
import { isTrue, Variables } from './variables.ts'

test('references', () => {
  const { substitute } = new Variables({ a: "it's", b: 'x\\y' })
  const references = [':a', ":'a'", ':"a"', ":'b'", ':{?a}', ':{?z}', ':z']
  expect(references.map(substitute)).toEqual([
    "it's",
    "'it''s'",
    `"it's"`,
    ` E'x\\\\y'`,
    'TRUE',
    'FALSE',
    undefined,
  ])
})

test('arguments are words, quoted ones keep their spaces, and neighbours are one', () => {
  const variables = new Variables({ dir: '/d' })
  const read = (line: string) => variables.commands(line).map(({ name, args }) => [name, ...args])
  expect(read(`\\set file :dir '/a b'`)).toEqual([['set', 'file', '/d', '/a b']])
  expect(read(`\\set x 'it''s':dir`)).toEqual([['set', 'x', "it's/d"]])
  expect(read('\\gset p_ \\echo :p_x')).toEqual([
    ['gset', 'p_'],
    ['echo', ':p_x'],
  ])
  expect(read('\\c -')).toEqual([['c', '-']])
})

test('what is true for \\if', () => {
  expect(['true', 't', 'ON', '1', 'yes'].every(isTrue)).toBe(true)
  expect(['false', 'off', '0', '', undefined, 'no'].some(isTrue)).toBe(false)
})
