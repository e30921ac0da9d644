import { describe, expect, test } from 'bun:test'
import { Look, Pin } from '../../shared/link/frame.ts'
import { SettingsTable, type SettingPair, type SettingsSet } from '../settings/settings-set.ts'
import { SessionState } from './session-state.ts'

const table = new SettingsTable(2 ** 20)

function set(...pairs: SettingPair[]): SettingsSet {
  return table.hold(pairs) as SettingsSet
}

function stateWith(...pairs: SettingPair[]): SessionState {
  const state = new SessionState(table)
  state.bring(pairs)
  return state
}

function named(state: SessionState, names: string[], defines: string[] = []): void {
  state.name(JSON.stringify({ names, defines }))
}

describe('what a look asks', () => {
  test('the names of the batch and those of the session', () => {
    const state = stateWith(['work_mem', '1MB'])
    named(state, ['App.Tenant', 'timezone'])
    state.ask(Look.Settings)
    const request = state.request()
    expect(request.names?.toSorted()).toEqual(['app.tenant', 'timezone', 'work_mem'])
    expect(request.whole).toBe(false)
  })

  test('new pins, and those held only when they may be undone', () => {
    const state = stateWith()
    state.ask(Pin.Listen)
    const first = state.request()
    expect(first.pins).toBe(Pin.Listen)
    state.learn(first, { settings: undefined, pins: Pin.Listen })
    expect(state.looks).toBe(0)
    state.ask(Pin.Listen)
    expect(state.looks).toBe(0)
    state.ask(Pin.TempObjects)
    expect(state.request().pins).toBe(Pin.TempObjects)
    state.ask(Look.Pins)
    expect(state.request().pins).toBe(Pin.TempObjects | Pin.Listen)
  })

  test('no pins while another one keeps the backend anyway', () => {
    const state = stateWith()
    state.ask(Pin.Unknown | Pin.Listen)
    expect(SessionState.isEmpty(state.request())).toBe(true)
  })
})

describe('what a look teaches', () => {
  test('settings are news once', () => {
    const state = stateWith()
    state.ask(Look.Settings)
    state.learn(state.request(), { settings: [['work_mem', '1MB']], pins: 0 })
    expect(state.news()).toBe('[["work_mem","1MB"]]')
    expect(state.news()).toBeUndefined()
    state.ask(Look.Settings)
    state.learn(state.request(), { settings: [], pins: 0 })
    expect(state.news()).toBe('[]')
  })

  test.each([
    ['fails', undefined, ['work_mem'], Pin.Settings],
    ['fails with a custom name', undefined, ['app.x'], Pin.Settings | Pin.NotCleanable],
    ['cannot ask a name', { settings: [], pins: 0 }, ['äpp.x'], Pin.Settings | Pin.NotCleanable],
    [
      'finds too much',
      { settings: [['app.x', 'x'.repeat(20_000)] as const], pins: 0 },
      ['app.x'],
      Pin.Settings | Pin.NotCleanable,
    ],
  ])('a look that %s pins', (_, answer, names, pins) => {
    const state = stateWith()
    named(state, names)
    state.ask(Look.Settings)
    state.learn(state.request(), answer)
    expect(state.pins).toBe(pins)
    expect(state.news()).toBe('null')
  })
})

describe('which backend suits', () => {
  test('one whose custom names are all the session’s, or about to be', () => {
    const state = stateWith(['app.a', '1'])
    expect(state.suits(set(['work_mem', '1MB']))).toBe(true)
    expect(state.suits(set(['app.a', '2']))).toBe(true)
    expect(state.suits(set(['app.b', '2']))).toBe(false)
    named(state, ['app.b'], ['app.b'])
    expect(state.suits(set(['app.b', '2']))).toBe(true)
    expect(state.target(set(['app.b', '2']))?.pairs).toEqual([
      ['app.a', '1'],
      ['app.b', ''],
    ])
  })

  test('traces of what was not looked at yet are cleaned, or close the backend', () => {
    const state = stateWith()
    expect(state.traces).toBe(0)
    state.ask(Look.Settings)
    expect(state.traces).toBe(Pin.Settings)
    named(state, ['app.b'])
    expect(state.traces).toBe(Pin.Settings | Pin.NotCleanable)
  })
})
