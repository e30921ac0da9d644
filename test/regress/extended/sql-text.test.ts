// Goal: a script is cut into statements where psql cuts it.
import { expect, test } from 'bun:test'
import { isEmptySql, SqlText } from './sql-text.ts'

const nothing = (): undefined => undefined

function statements(script: string, standard = true): string[] {
  const text = new SqlText(script, nothing)
  text.standardStrings = standard
  const found: string[] = []
  for (let piece = text.next(); piece.kind !== 'end'; piece = text.next()) {
    found.push(piece.kind === 'statement' ? piece.text.trim() : `${piece.text.trim()}${piece.line}`)
    if (piece.kind === 'command') text.reset()
  }
  return found
}

test.each([
  ['a semicolon', 'select 1; select 2;', ['select 1', 'select 2']],
  ['strings and names', `select ';''' , ";"";";x;`, [`select ';''' , ";"";"`, 'x']],
  ['escapes in E strings', `select e'\\';' ; x;`, [`select e'\\';'`, 'x']],
  ['dollar quotes', 'do $a$ ; $$ ; $a$; x;', ['do $a$ ; $$ ; $a$', 'x']],
  ['a dollar inside of a name', 'select a$b$c;x;', ['select a$b$c', 'x']],
  ['nested comments', 'select /* ; /* ; */ ; */ 1; x;', ['select /* ; /* ; */ ; */ 1', 'x']],
  ['line comments', 'select 1 -- ;\n; x;', ['select 1 -- ;', 'x']],
  [
    'rules with several actions',
    'create rule r as do (a; b); x;',
    ['create rule r as do (a; b)', 'x'],
  ],
  ['joined statements', 'select 1\\; select 2; x;', ['select 1; select 2', 'x']],
  ['commands', 'select 1 \\gset\nx;', ['select 1\\gset', 'x']],
])('%s', (_, script, expected) => {
  expect(statements(script)).toEqual(expected)
})

test('the body of an SQL-standard routine is one statement', () => {
  const body = 'begin atomic select 1; select case when true then 1 end; end'
  const routine = `create or replace function f() returns int ${body}`
  expect(statements(`${routine}; begin; end; x;`)).toEqual([routine, 'begin', 'end', 'x'])
})

test('backslashes in plain strings count when the server says so', () => {
  expect(statements(`select '\\'; x;`)).toEqual([`select '\\'`, 'x'])
  expect(statements(`select '\\';' ; x;`, false)).toEqual([`select '\\';'`, 'x'])
})

test('variables are put in where psql knows them, and nowhere else', () => {
  const known = new Map([
    [':a', '1'],
    [":'b'", "'2'"],
  ])
  const text = new SqlText(`select :a, :'b', :c, x::a, y[1:2], ':a';`, (name) => known.get(name))
  expect(text.next().text).toBe(`select 1, '2', :c, x::a, y[1:2], ':a'`)
})

test('data of a copy follow its line, up to the end mark', () => {
  const text = new SqlText('copy t from stdin; -- here\n1\n;\n\\.\nselect 1;', nothing)
  expect(text.next().text).toBe('copy t from stdin')
  expect(text.copyData()).toBe('1\n;\n')
  expect(text.next().text.trim()).toBe('select 1')
})

test('comments alone are no statement', () => {
  expect(isEmptySql(' -- a\n /* b */ ')).toBe(true)
  expect(isEmptySql('-- a\nselect 1')).toBe(false)
})
