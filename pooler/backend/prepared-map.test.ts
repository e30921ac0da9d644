// Goal: what a backend is believed to hold is bounded in number and bytes, and survives that its
// gateway defines a statement anew.
import { expect, test } from 'bun:test'
import { definitionBytes } from '../../shared/link/definition-bytes.ts'
import { shapeOf } from '../../shared/link/shape.ts'
import { parse } from '../../shared/pgwire/frontend.ts'
import { Definition } from './definition.ts'
import { PreparedMap } from './prepared-map.ts'

const define = (name: string, text: string) => new Definition(parse(text, { name }), 1, true)

/** As the forwarder does; the names that it has to close. */
function add(map: PreparedMap, definition: Definition, limits = LIMITS): string[] {
  const closed = map.makeRoom(limits, definition.bytes).map(({ name }) => name)
  map.begin(definition)
  map.complete(definition)
  return closed
}

const LIMITS = { preparedMax: 100, preparedBytesMax: 1e9 }

test('a large statement makes room for itself, by those used longest ago', () => {
  const map = new PreparedMap()
  const small = ['a', 'b', 'c'].map((name) => define(name, 'select 1'))
  for (const definition of small) add(map, definition)
  expect(map.holds(small[0] as Definition)).toBe(true)
  const large = define('large', `select '${'x'.repeat(1000)}'`)
  const preparedBytesMax = definitionBytes(large.bytes) + definitionBytes(small[0]?.bytes ?? 0)
  expect(add(map, large, { ...LIMITS, preparedBytesMax })).toEqual(['b', 'c'])
  expect(map.bytes).toBe(preparedBytesMax)
  const larger = define('larger', `select '${'x'.repeat(5000)}'`)
  expect(add(map, larger, { ...LIMITS, preparedBytesMax })).toEqual(['a', 'large'])
  expect([map.size, map.bytes]).toEqual([1, definitionBytes(larger.bytes)])
  map.clear()
  expect(map.bytes).toBe(0)
})

test('what one batch alone needed beyond the bounds goes with the next', () => {
  const map = new PreparedMap()
  const many = Array.from({ length: 300 }, (_, i) => define(`s${i}`, 'select 1'))
  for (const definition of many) {
    expect(map.makeRoom(LIMITS, definition.bytes)).toEqual([])
    map.begin(definition)
  }
  for (const definition of many) map.complete(definition)
  expect(add(map, define('next', 'select 1'))).toEqual(many.slice(0, 201).map(({ name }) => name))
  expect(map.size).toBe(LIMITS.preparedMax)
})

test('what may still be there is closed with the others, and counts', () => {
  const map = new PreparedMap()
  const [a, b, c] = ['a', 'b', 'c'].map((name) => define(name, 'select 1'))
  if (a === undefined || b === undefined || c === undefined) throw new Error('three were made')
  for (const definition of [a, b]) add(map, definition)
  map.clear()
  expect([map.holds(a), map.maybe]).toEqual([false, true])
  expect(add(map, c, { ...LIMITS, preparedMax: 2 })).toEqual(['a'])
  expect(map.takeAll().map(({ name }) => name)).toEqual(['b', 'c'])
  expect([map.holds(c), map.maybe]).toEqual([false, false])
  add(map, a)
  map.drop(a)
  expect(map.takeAll()).toEqual([a])
  add(map, a)
  map.gone()
  expect(map.maybe).toBe(false)
})

test('one that is defined anew is held, unless it is another', () => {
  const map = new PreparedMap()
  const parameters = Buffer.from([0, 1, 0, 0, 0, 25])
  const first = define('a', 'select $1')
  add(map, first)
  first.keep(shapeOf(parameters, undefined))
  const again = define('a', 'select $1')
  expect(map.holds(again)).toBe(false)
  again.keep(shapeOf(parameters, undefined))
  expect(map.holds(again)).toBe(true)
  expect(map.holds(define('a', 'select 2'))).toBe(false)
  map.drop(first)
  expect(map.holds(again)).toBe(false)
})

test('one that is defined anew while its Parse is under way is answered by that', () => {
  const map = new PreparedMap()
  const first = define('a', 'select 1')
  map.begin(first)
  expect(map.holds(define('a', 'select 1'))).toBe(true)
  map.failed(first)
  expect(map.holds(define('a', 'select 1'))).toBe(false)
  expect([map.size, map.bytes]).toEqual([0, 0])
})

test('more parameters than a shape carries are left as the client said', () => {
  const definition = define('a', 'select 1')
  const { parse: before } = definition
  const parameters = Buffer.alloc(2 + 4 * 5000)
  parameters.writeUInt16BE(5000, 0)
  definition.keep(shapeOf(parameters, undefined))
  expect(definition.parse).toEqual(before)
  expect(definition.parse.readInt32BE(1)).toBe(before.length - 1)
})

test('two Parses of one statement in a batch, the second without an answer, leave it unknown', () => {
  const limits = { preparedMax: 2, preparedBytesMax: 1e9 }
  for (const end of ['stays', 'failed'] as const) {
    const map = new PreparedMap()
    const twice = define('twice', 'select 1')
    map.begin(twice)
    map.begin(twice)
    map.complete(twice) // the answer to the first: they are not told apart
    map[end](twice)
    expect(map.holds(twice)).toBe(false)
    expect(add(map, define('other', 'select 2'), limits)).toEqual([])
    expect(add(map, define('one more', 'select 3'), limits)).toContain('twice')
    expect(map.takeAll().map(({ name }) => name)).not.toContain('twice')
  }
})
