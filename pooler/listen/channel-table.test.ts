import { expect, test } from 'bun:test'
import { ChannelTable } from './channel-table.ts'

test('a channel is there while somebody hears it', () => {
  const table = new ChannelTable<string>()
  table.add('one', 'a')
  table.add('two', 'a')
  table.add('two', 'b')
  table.add('two', 'b')
  expect([...table.listeners('a')]).toEqual(['one', 'two'])
  expect(table.remove('one', 'a')).toBe(false)
  expect(table.remove('one', 'a')).toBe(false)
  expect(table.hearsAny('one')).toBe(false)
  expect(table.removeAll('two').toSorted()).toEqual(['a', 'b'])
  expect([table.sessions, table.heard('a'), table.heard('b')]).toEqual([0, false, false])
})

test('who leaves while the listeners are walked is told nothing more', () => {
  const table = new ChannelTable<string>()
  for (const name of ['one', 'two', 'three']) table.add(name, 'a')
  const told: string[] = []
  for (const name of table.listeners('a')) {
    told.push(name)
    table.removeAll('two')
  }
  expect(told).toEqual(['one', 'three'])
})
