// Goal: a thousand sessions that listen cost one backend, and each hears all.
// Method: they log in through the gateway, LISTEN, and hear a hundred notifications, timed. Memory
// is that of this process, in which gateway, pooler and the thousand clients run.
import { expect, test } from 'bun:test'
import { startHarness } from '../gateway/harness.ts'

const LISTENERS = 1000
const NOTIFICATIONS = 100
/** Logins at a time. */
const STEP = 50

test('a thousand listeners on one connection', async () => {
  await using harness = await startHarness({ pooler: { poolSize: 4 } })
  const { executor } = harness.pooler.server
  const listeners = []
  for (let at = 0; at < LISTENERS; at += STEP) {
    const some = Array.from({ length: STEP }, () => harness.connect('gateway'))
    listeners.push(...(await Promise.all(some)))
  }
  Bun.gc(true)
  const before = process.memoryUsage().rss
  const beganMs = performance.now()
  await Promise.all(listeners.map((listener) => listener.query('listen all_of_us')))
  const listenedMs = performance.now() - beganMs
  Bun.gc(true)
  const grown = process.memoryUsage().rss - before
  expect(executor.listeners.sessions).toBe(LISTENERS)
  expect(executor.pools.pinnedTotal).toBe(0)
  await using notifier = await harness.connect('gateway')
  const sentMs = performance.now()
  const heard = listeners.map((of) => of.until(`NotificationResponse all_of_us ${NOTIFICATIONS}`))
  for (let at = 1; at <= NOTIFICATIONS; at++) await notifier.query(`notify all_of_us, '${at}'`)
  for (const lines of await Promise.all(heard)) expect(lines).toHaveLength(NOTIFICATIONS)
  const heardMs = performance.now() - sentMs
  const [connections] = await notifier.row(
    "select count(*) from pg_stat_activity where application_name = 'multigres_listener'",
  )
  expect(connections).toBe('1')
  const told = Math.round((1000 * LISTENERS * NOTIFICATIONS) / heardMs)
  console.log(
    `${LISTENERS} LISTEN ${listenedMs.toFixed(0)} ms, ${(grown / LISTENERS).toFixed(0)} bytes each; ` +
      `${told} notifications a second; backends ${executor.pools.total}, pinned 0`,
  )
  for (const listener of listeners) await listener[Symbol.asyncDispose]()
}, 120_000)
