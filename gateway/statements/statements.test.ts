// Goal: a client's view of its statements is what Postgres confirmed, and nothing is held in vain.
// Method: random batches against a naive model that copies the whole view before each batch.
import { describe, expect, test } from 'bun:test'
import { Random } from '../../test/support/random.ts'
import { Trait } from '../session/traits.ts'
import { SessionStatements } from './session-statements.ts'
import { StatementRegistry } from './statement-registry.ts'

function newRegistry(options: { bytesMax?: number; unusedMax?: number } = {}) {
  const released: number[] = []
  const registry = new StatementRegistry({
    gatewayTag: 't',
    bytesMax: options.bytesMax ?? 1_000_000,
    unusedMax: options.unusedMax ?? 0,
    released: (id) => void released.push(id),
  })
  const acquire = (text: string, traits = 0, context = '') => {
    const bytes = Buffer.from(`${text}\0\0\0`)
    return registry.acquire(bytes, { start: 0, end: bytes.length }, { traits, context })
  }
  return { registry, released, acquire }
}

describe('the registry', () => {
  test('gives the same statement for the same bytes, and another for others', () => {
    const { acquire } = newRegistry()
    const one = acquire('select 1')
    expect(acquire('select 1')).toBe(one)
    expect(acquire('select 1 ')).not.toBe(one)
    expect(one?.references).toBe(2)
  })

  test('shares nothing that was prepared under other settings', () => {
    const { acquire } = newRegistry()
    const one = acquire('select 1', 0, '[["search_path","a"]]')
    expect(acquire('select 1')).not.toBe(one)
    expect(acquire('select 1', 0, '[["search_path","a"]]')).toBe(one)
  })

  test('never shares what Postgres reads by the clock', () => {
    const { acquire } = newRegistry()
    const one = acquire("select 'now'", Trait.NotShared)
    expect(acquire("select 'now'", Trait.NotShared)).not.toBe(one)
  })

  test('forgets what nobody holds, the oldest first, and says so', () => {
    const { registry, released, acquire } = newRegistry({ unusedMax: 1 })
    const [one, two] = [acquire('1'), acquire('2')]
    if (one === undefined || two === undefined) throw new Error('no room')
    registry.release(one)
    registry.release(two)
    expect(released).toEqual([one.id])
    expect(acquire('2')).toBe(two)
    expect(acquire('1')).not.toBe(one)
  })

  test('refuses when it is full of what is held, and evicts what is not', () => {
    const { registry, acquire } = newRegistry({ bytesMax: 700, unusedMax: 10 })
    const one = acquire('x'.repeat(150))
    expect(acquire('y'.repeat(150))).toBeUndefined()
    if (one !== undefined) registry.release(one)
    expect(acquire('y'.repeat(150))).toBeDefined()
  })

  test('counts what holders keep of one that they share', () => {
    const { registry, acquire } = newRegistry({ bytesMax: 2000 })
    const held = []
    for (let one = acquire('select 1'); one !== undefined; one = acquire('select 1')) held.push(one)
    expect(held.length).toBeGreaterThan(10)
    expect(held.length).toBeLessThan(20)
    expect(registry.size.statements).toBe(1)
    for (const one of held) registry.release(one)
    expect(registry.size).toEqual({ statements: 0, unused: 0, bytes: 0 })
  })

  test('full, shares what is held also with who is not refused', () => {
    const { registry, acquire } = newRegistry({ bytesMax: 700 })
    const one = acquire('x'.repeat(150))
    const bytes = Buffer.from(`${'x'.repeat(150)}\0\0\0`)
    const range = { start: 0, end: bytes.length }
    for (let i = 0; i < 10; i++) {
      expect(registry.acquireAnyway(bytes, range, { traits: 0, context: '' })).toBe(one as never)
    }
    expect(acquire('x'.repeat(150))).toBeUndefined()
    expect(registry.size.statements).toBe(1)
  })

  test('tells statements apart whose hashes are one', () => {
    const { registry, acquire } = newRegistry()
    const contexts = ['a', 'b', 'c']
    const held = contexts.map((context) => acquire('select 1', 0, context))
    const middle = held[1]
    if (middle === undefined) throw new Error('no room')
    registry.release(middle)
    expect(acquire('select 1', 0, 'a')).toBe(held[0])
    expect(acquire('select 1', 0, 'c')).toBe(held[2])
    expect(acquire('select 1', 0, 'b')).not.toBe(middle)
  })

  test('defines a statement as its Parse message under its own name', () => {
    const { acquire } = newRegistry()
    const statement = acquire('select 1')
    if (statement === undefined) throw new Error('no room')
    const { definition, nameStart, nameEnd } = statement
    const name = definition.toString('latin1', nameStart, nameEnd)
    expect(name).toStartWith('mg:t:')
    expect(statement.isNamed(Buffer.from(name))).toBe(true)
    expect(statement.isNamed(Buffer.from('mg:t:999'))).toBe(false)
    expect(definition.readInt32BE(1)).toBe(definition.length - 1)
    expect(definition.toString('latin1', 5)).toBe(`${name}\0select 1\0\0\0`)
  })
})

describe('a session', () => {
  test('holds what was confirmed and undoes the rest, from any seed', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = new Random(seed)
      const { registry, acquire } = newRegistry()
      const session = new SessionStatements(registry)
      for (let batch = 0; batch < 20; batch++) playBatch(random, session, acquire)
      session.clear()
      expect(registry.size).toEqual({ statements: 0, unused: 0, bytes: 0 })
    }
  })
})

/** One batch of changes, some of which are confirmed; the view must be what the model says. */
function playBatch(
  random: Random,
  session: SessionStatements,
  acquire: ReturnType<typeof newRegistry>['acquire'],
): void {
  const model = new Map(session.entries())
  let unnamed = session.unnamed
  const steps = random.integer(6)
  const confirmed = random.chance(0.5) ? steps : random.integer(steps + 1)
  for (let step = 0; step < steps; step++) {
    const counts = step < confirmed
    const name = random.pick(['a', 'b', 'c'])
    if (random.chance(0.2)) {
      const statement = { parse: Buffer.from(name), traits: step, mentions: undefined }
      session.setUnnamed(statement)
      if (counts) unnamed = statement
      else if (step === confirmed) unnamed = undefined // it failed, and dropped the one before
    } else if (session.get(name) === undefined) {
      const statement = acquire(random.pick(['select 1', 'select 2', 'select 3']))
      if (statement === undefined) throw new Error('no room')
      session.parse(name, statement)
      if (counts) model.set(name, statement)
    } else if (random.chance(0.7)) {
      session.close(name)
      if (counts) model.delete(name)
    } else {
      session.nothing()
    }
  }
  for (let step = 0; step < confirmed; step++) session.confirm()
  if (confirmed === steps) session.settle()
  else session.undo(true)
  expect(new Map(session.entries())).toEqual(model)
  expect(session.unnamed).toBe(unnamed)
}
