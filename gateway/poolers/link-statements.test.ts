// Goal: a pooler never knows of more than it keeps, and always of what the next frame names.
// Method: a connection that only notes what is sent, played back against a naive pooler.
import { expect, test } from 'bun:test'
import { Random } from '../../test/support/random.ts'
import { definitionBytes } from '../../shared/link/definition-bytes.ts'
import { keepsDataOrder, Kind } from '../../shared/link/frame.ts'
import type { LinkConnection } from '../../shared/link/link-connection.ts'
import { StatementRegistry } from '../statements/statement-registry.ts'
import { LinkStatements } from './link-statements.ts'

const TEXT_BYTES = 100
const KEPT = 64

/** What a pooler knows after all that was sent. */
function newLink(kept: number) {
  const known = new Map<number, number>()
  let defined = 0
  const connection = {
    definitionsBytesMax: kept,
    send(kind: number, ...rest: [number, number, number, number, number, Buffer?]): void {
      const [, , , , id, message] = rest
      expect(keepsDataOrder(kind)).toBe(true)
      if (kind === Kind.Release) known.delete(id)
      if (kind !== Kind.Define || message === undefined) return
      known.set(id, definitionBytes(message.length))
      defined++
    },
  }
  const statements = new LinkStatements(connection as unknown as LinkConnection)
  const bytes = () => [...known.values()].reduce((sum, size) => sum + size, 0)
  return { statements, known, bytes, defined: () => defined }
}

function newStatements(count: number) {
  const options = { gatewayTag: 't', bytesMax: 1e9, unusedMax: 0, released: () => undefined }
  const registry = new StatementRegistry(options)
  return Array.from({ length: count }, (_, i) => {
    const bytes = Buffer.from(`${String(i).padEnd(TEXT_BYTES)}\0\0\0`)
    const statement = registry.acquire(bytes, { start: 0, end: bytes.length }, { traits: 0 })
    if (statement === undefined) throw new Error('no room')
    return statement
  })
}

const bytesMax = KEPT * definitionBytes(TEXT_BYTES + 20)

test('what a piece names is known, and between two pieces never too much', () => {
  const random = new Random(7)
  const all = newStatements(500)
  const { statements, known, bytes } = newLink(bytesMax)
  for (let piece = 0; piece < 1000; piece++) {
    const named = Array.from({ length: 1 + random.integer(100) }, () => random.pick(all))
    for (const statement of named) statements.define(statement)
    for (const { id } of named) expect(known.has(id)).toBe(true)
    statements.trim()
    expect(bytes()).toBeLessThanOrEqual(bytesMax)
    expect([statements.bytes, statements.count]).toEqual([bytes(), known.size])
  }
})

test('what is named again and again is defined once', () => {
  const all = newStatements(2000)
  const [often] = all
  if (often === undefined) throw new Error('none')
  const { statements, defined } = newLink(bytesMax)
  for (const statement of all) {
    statements.define(often)
    statements.define(statement)
    statements.trim()
  }
  expect(defined()).toBe(all.length)
})

test('a pooler that keeps all is told once of each', () => {
  const all = newStatements(500)
  const { statements, known } = newLink(0)
  for (const statement of all) {
    statements.define(statement)
    statements.trim()
  }
  expect(known.size).toBe(all.length)
})
