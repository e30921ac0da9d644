// Goal: what takes a guard out still fits the source that it is for; where it is played (in
// planted.long.ts here, and planted-bugs.long.ts for the data plane) takes too long for every day.
// Method: the edits are made in memory; each text stands once in its file, and what comes of it is
// a program.
import { describe, expect, test } from 'bun:test'
import { PLANTED_BUGS } from '../fidelity/planted-bugs.ts'
import { chosen, GUARDS } from './guards.ts'
import { type Edit, edited } from './planted.ts'

const transpiler = new Bun.Transpiler({ loader: 'ts' })

function fits(edits: readonly Edit[]): void {
  for (const text of edited(edits).values()) {
    expect(() => transpiler.transformSync(text)).not.toThrow()
  }
}

describe('an edit fits its source', () => {
  test.each(GUARDS.map((guard) => [guard.name, guard] as const))(
    'without %s',
    (_, { edits, setting = [] }) => {
      fits([...setting, ...edits])
      fits(setting)
    },
  )

  test.each(PLANTED_BUGS.map((bug) => [bug.never, bug] as const))('never: %s', (_, bug) => {
    fits([bug])
  })

  test('or it is told', () => {
    const edit = { file: 'package.json', from: 'stands nowhere', to: '' }
    expect(() => edited([edit])).toThrow(/has 0 times/)
    expect(() => edited([{ ...edit, from: 'bun' }])).toThrow(/has \d+ times/)
  })
})

test('guards are chosen by their keys', () => {
  expect(chosen(undefined).size).toBe(GUARDS.length)
  expect([...chosen('list,lease')]).toEqual(['list', 'lease'])
  expect(() => chosen('lease,lisp')).toThrow(/no guards lisp/)
})
