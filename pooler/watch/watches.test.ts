import { expect, test } from 'bun:test'
import { now } from '../../shared/time/clock.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { Watches, type WatchesHost } from './watches.ts'

const HOST: WatchesHost = {
  log: nullLogger,
  admin: { socketPath: () => undefined, user: 'nobody', timeoutMs: 1000 },
  changed: () => {},
  inUse: () => true,
  changedElsewhere: () => {},
}

test('a reading while the database is dropped leaves no connection in it', async () => {
  const watches = new Watches(HOST)
  const watch = watches.of('some')
  await watch.check()
  expect(watch.connected).toBe(true)
  watches.leave('another', now())
  expect(watch.connected).toBe(false)
  const [running, next] = [watch.check(), watch.check()] // a session begins, and a tick passes
  expect(watch.connected).toBe(true)
  await running
  await next
  expect(watch.connected).toBe(false)
})

test('catalogs that could not be read yet are asked again at each tick', () => {
  const watches = new Watches(HOST)
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
