import { expect, test } from 'bun:test'
import { nullLogger } from '../../shared/log/logger.ts'
import { Watches } from './watches.ts'

test('catalogs that could not be read yet are asked again at each tick', () => {
  const watches = new Watches({
    log: nullLogger,
    admin: { socketPath: () => undefined, user: 'nobody', timeoutMs: 1000 },
    changed: () => {},
    inUse: () => true,
    changedElsewhere: () => {},
  })
  const watch = watches.of('some')
  let checks = 0
  watch.check = () => {
    checks++
    return Promise.resolve()
  }
  let nowMs = 10_000
  const pass = (ms: number): number => {
    checks = 0
    for (const end = nowMs + ms; nowMs < end; nowMs += 100) watches.tick(nowMs)
    return checks
  }
  expect(pass(1000)).toBe(10)
  watch.ready = true
  expect(pass(3000)).toBe(3)
})
