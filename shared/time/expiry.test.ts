import { expect, test } from 'bun:test'
import { Expiry } from './expiry.ts'
import { useTimeSource } from './clock.ts'

test('each has its whole time, whoever came before it, and who left is not told', () => {
  let nowMs = 1000
  const due: { atMs: number; callback: () => void }[] = []
  using _ = useTimeSource({
    now: () => nowMs,
    bootTimeMs: () => nowMs,
    wallTimeMs: () => nowMs,
    random: () => 0,
    after(ms, callback) {
      const one = { atMs: nowMs + ms, callback }
      due.push(one)
      return () => void due.splice(due.indexOf(one), 1)
    },
  })
  const pass = (toMs: number): void => {
    for (;;) {
      const next = due.find(({ atMs }) => atMs <= toMs)
      if (next === undefined) break
      due.splice(due.indexOf(next), 1)
      nowMs = next.atMs
      next.callback()
    }
    nowMs = toMs
  }
  const told: string[] = []
  const waiting = new Expiry<{ expire(): void }>(() => 100)
  const add = (name: string): { expire(): void } => {
    const one = { expire: () => void told.push(`${name} ${nowMs}`) }
    waiting.add(one)
    return one
  }
  add('a')
  pass(1050)
  const left = add('b')
  add('c')
  pass(1070)
  add('d')
  waiting.delete(left)
  expect(due.length).toBe(1)
  pass(2000)
  expect(told).toEqual(['a 1100', 'c 1150', 'd 1170'])
  add('e')
  pass(2099)
  expect(told.length).toBe(3)
  pass(2100)
  expect(told.at(-1)).toBe('e 2100')
  expect(due.length).toBe(0)
})
