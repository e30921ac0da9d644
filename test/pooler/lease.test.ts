// Goal: a leader whose lease has run out says nothing more to a client, however far a batch is: no
// event tells a process that was stopped that time has passed, so every frame asks.
// Method: the two looks at the lease by hand, a raw link and a plain driver, a real Postgres.
import { afterAll, afterEach, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { bind, execute, flush, parse, query } from '../../shared/pgwire/frontend.ts'
import { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { SERVING, startHarness, type Harness } from './harness.ts'

setDefaultTimeout(30_000)
const OVER = 'its lease has run out'
let h: Harness
beforeAll(async () => {
  h = await startHarness({ poolSize: 2, poolWarmSize: 0 })
  h.serving.lapsed = () => h.serving.set({ ...SERVING, serving: false, reason: OVER })
}, 60_000)
afterAll(() => h[Symbol.asyncDispose]())
afterEach(async () => {
  h.serving.answers = () => true
  h.serving.delivers = () => true
  h.serving.set(SERVING)
  await until(() => h.server.sessions === 0 && h.server.plainSessions.size === 0)
})

const ASK = [bind({}), execute(), flush()]
const SLOW = "select 'told' from pg_sleep(0.3)"

test('what comes behind a Flush begins nothing', async () => {
  const stream = await h.link.open()
  stream.batch([parse('select 1'), ...ASK], { final: false })
  await stream.until('CommandComplete')
  stream.lines.length = 0
  h.serving.answers = () => false
  stream.more(ASK)
  await stream.until('LOST')
  expect(stream.lines).toEqual(['LOST 1 57P03'])
  await stream.close()
})

test('what a backend says afterwards reaches nobody', async () => {
  const stream = await h.link.open()
  stream.batch(query(SLOW))
  h.serving.delivers = () => false
  await stream.until('LOST')
  expect(stream.lines).toEqual(['LOST 1 57P03'])
  await stream.close()
})

test('a plain driver is cut off when it asks, and when it would be answered', async () => {
  const address = { path: h.server.socketPath as string }
  for (const look of ['answers', 'delivers'] as const) {
    const driver = await Frontend.connect(address)
    if (look === 'delivers') driver.send(query(SLOW))
    h.serving[look] = () => false
    if (look === 'answers') driver.send(query(SLOW))
    const message = await driver.message()
    expect(message).toMatchObject({ name: 'ErrorResponse', fields: { code: '57P01' } })
    await driver[Symbol.asyncDispose]()
    h.serving[look] = () => true
    h.serving.set(SERVING)
  }
})

test('a session that reads from a follower asks nobody', async () => {
  h.serving.set({ ...SERVING, role: 'follower', serving: false, reason: OVER, notReadable: '' })
  h.serving.answers = () => false
  h.serving.delivers = () => false
  const stream = await h.link.open({ reads: true })
  expect(await stream.run(query('select 1'))).toContain('DataRow 1')
  await stream.close()
})
