import { expect, test } from 'bun:test'
import { readAction } from './read-action.ts'

test('what is done at all gateways is read as it was sent', () => {
  const actions = [
    { verb: 'PAUSE', database: 'a' },
    { verb: 'RESUME', database: undefined },
    { verb: 'KILL', database: 'b' },
    { verb: 'DISABLE', database: 'a' },
    { verb: 'KILL_CLIENT', session: 7 },
    { verb: 'SET', name: 'pause_timeout', value: '7s' },
    { verb: 'RELOAD' },
  ] as const
  for (const action of actions) {
    const sent: unknown = JSON.parse(JSON.stringify(action))
    expect(readAction(sent)).toEqual(action)
  }
})

test('what is not known, or not of all, is refused', () => {
  const bad = [
    undefined,
    'PAUSE',
    { verb: 'SHUTDOWN' },
    { verb: 'PAUSE', database: 5 },
    { verb: 'DISABLE' },
    { verb: 'KILL_CLIENT', session: '7' },
    { verb: 'SET', name: 'a' },
  ]
  for (const value of bad) {
    expect(() => readAction(value)).toThrow('does not know')
  }
})
