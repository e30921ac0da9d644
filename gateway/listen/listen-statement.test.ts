import { expect, test } from 'bun:test'
import { classify, lastMentions } from '../session/classify.ts'
import { LexMode } from '../session/sql-lexer.ts'

function changeOf(text: string, mode: number = LexMode.Utf8): unknown {
  const bytes = Buffer.from(text)
  const mentions = lastMentions(classify(bytes, 0, bytes.length, mode))
  return mentions?.channels ?? mentions?.ownChannels
}

const bytesOf = (name: string): string => Buffer.from(name).toString('latin1')

test.each([
  ['LISTEN Abc;', { listen: 'abc' }],
  ['listen "Abc"', { listen: 'Abc' }],
  ['listen Ä', { listen: bytesOf('Ä') }],
  [`listen ${'x'.repeat(62)}ä`, { listen: 'x'.repeat(62) }],
  ['unlisten a', { unlisten: 'a' }],
  ['unlisten *', { unlisten: null }],
  ['unlisten "*"', { unlisten: '*' }],
  ['discard all', { unlisten: null }],
  ['close all; unlisten *; reset all', { unlisten: null }],
])('%s is told', (text, change) => {
  expect(changeOf(text)).toEqual(change)
})

test.each([
  'listen a; listen b',
  'begin; unlisten a; commit',
  'unlisten a; unlisten b',
  'unlisten a; listen b',
  'listen a.b',
  'select pg_listening_channels()',
  "do $$ begin execute 'unlisten a'; end $$",
])('%s needs the channels on its backend', (text) => {
  expect(changeOf(text)).toBe(true)
})

test('without UTF8 nothing is told', () => {
  expect(changeOf('listen a', 0)).toBe(true)
})
