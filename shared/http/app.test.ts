import { beforeEach, expect, test } from 'bun:test'
import * as f from '../config/fields.ts'
import { loadConfig } from '../config/load.ts'
import { Lameduck, type Drainable } from '../lifecycle/lameduck.ts'
import { nullLogger } from '../log/logger.ts'
import { MetricsRegistry } from '../metrics/registry.ts'
import { until } from '../../test/support/until.ts'
import { createApp } from './app.ts'

const fields = {
  poolSize: f.integer({ default: 16, min: 1, live: true, help: 'Backends.' }),
  waitTimeoutMs: f.duration({ default: '5s', live: true, help: 'Wait.' }),
  port: f.port({ default: 1, help: 'Port.' }),
}
const HERE = '127.0.0.1'
const ELSEWHERE = '10.1.2.3'

let token: string | undefined
let reasons: string[]
let sessions: number
let resumed: number
let request: (method: string, path: string, options?: Options) => Promise<Reply>

interface Options {
  body?: unknown
  peer?: string
  headers?: Record<string, string>
}
interface Reply {
  status: number
  json: unknown
  text: string
}

beforeEach(() => {
  token = undefined
  reasons = []
  sessions = 0
  resumed = 0
  const service: Drainable = {
    sessions: () => sessions,
    async drain(deadline) {
      const over = Promise.withResolvers<void>()
      deadline.addEventListener('abort', () => over.resolve())
      if (sessions > 0) await over.promise
      return sessions
    },
    resume: () => void (resumed += 1),
  }
  const app = createApp({
    service: 'pooler',
    id: 'zone1_pooler1',
    build: { version: '1.2.3', commit: null, bun: '1' },
    config: loadConfig({ service: 'pooler', fields, argv: [], env: {} }),
    metrics: new MetricsRegistry(),
    lameduck: new Lameduck({ service: () => service, log: nullLogger }),
    log: nullLogger,
    notReady: () => reasons,
    token: () => token,
    lameduckPeriodMs: () => 60_000,
    actions: () => ({ echo: (body) => Promise.resolve({ heard: body['said'] }) }),
    debug: () => ({ pools: () => ({ waiting: new Set([1n, 2n ** 60n]) }) }),
    status: () => ({ leader: '<script>', term: 3n }),
  })
  request = async (method, path, { body, peer = HERE, headers = {} } = {}) => {
    const text = typeof body === 'string' ? body : body === undefined ? null : JSON.stringify(body)
    const sent = new Request(`http://localhost:15200${path}`, { method, body: text, headers })
    const reply = await app.fetch(sent, { peer })
    const got = await reply.text()
    const isJson = reply.headers.get('content-type')?.startsWith('application/json') ?? false
    return { status: reply.status, text: got, json: isJson ? JSON.parse(got) : undefined }
  }
})

test('live is 200, ready is 200 or 503 with the reasons', async () => {
  expect((await request('GET', '/live')).status).toBe(200)
  expect((await request('GET', '/ready')).status).toBe(200)
  reasons = ['no leader', 'no quorum']
  expect(await request('GET', '/ready')).toMatchObject({ status: 503, json: { reasons } })
})

test('version and metrics say what runs', async () => {
  expect((await request('GET', '/version')).json).toMatchObject({
    service: 'pooler',
    id: 'zone1_pooler1',
    version: '1.2.3',
  })
  expect((await request('GET', '/metrics')).status).toBe(200)
})

test('config shows value, source and live, and takes live changes', async () => {
  expect((await request('GET', '/config')).json).toEqual({
    pool_size: { value: 16, source: 'default', live: true },
    wait_timeout: { value: '5s', source: 'default', live: true },
    port: { value: 1, source: 'default', live: false },
  })
  const changed = await request('POST', '/config', {
    body: { pool_size: 20, wait_timeout: '1min' },
  })
  expect(changed).toMatchObject({
    status: 200,
    json: { pool_size: { value: 20, source: 'set' }, wait_timeout: { value: '1min' } },
  })
})

test('a bad change of the config is 400 with everything that is wrong, a fixed one 409', async () => {
  const bad = await request('POST', '/config', { body: { pool_size: '0', pol_size: '1' } })
  expect(bad).toMatchObject({
    status: 400,
    json: {
      errors: [
        'there is no setting pol_size; did you mean pool_size?',
        'pool_size: "0" is below the least, 1',
      ],
    },
  })
  expect((await request('POST', '/config', { body: 'not json' })).status).toBe(400)
  expect((await request('POST', '/config', { body: { pool_size: {} } })).status).toBe(400)
  const fixed = await request('POST', '/config', { body: { port: '2' } })
  expect(fixed).toMatchObject({ status: 409, json: { not_live: ['port'] } })
})

test('a drain can be begun, watched and taken back', async () => {
  expect((await request('GET', '/lameduck')).json).toEqual({
    state: 'serving',
    deadline_ms: null,
    sessions: 0,
  })
  sessions = 2
  const begun = await request('POST', '/lameduck', { body: { period: '30s' } })
  expect(begun).toMatchObject({ status: 200, json: { state: 'draining', sessions: 2 } })
  const { deadline_ms: left } = begun.json as { deadline_ms: number }
  expect(left).toBeGreaterThan(29_000)
  expect(left).toBeLessThanOrEqual(30_000)
  expect(await request('DELETE', '/lameduck')).toMatchObject({
    status: 200,
    json: { state: 'serving' },
  })
  expect(resumed).toBe(1)
})

test('once something was cut there is no way back', async () => {
  sessions = 1
  await request('POST', '/lameduck', { body: { period: '0' } })
  await until(async () => (await request('GET', '/lameduck')).text.includes('drained'))
  expect((await request('DELETE', '/lameduck')).status).toBe(409)
  expect(resumed).toBe(0)
})

test('a bad period is 400 and begins no drain', async () => {
  for (const period of ['30', 'soon', 30, null]) {
    expect((await request('POST', '/lameduck', { body: { period } })).status).toBe(400)
  }
  expect((await request('GET', '/lameduck')).json).toMatchObject({ state: 'serving' })
})

test('with a token every change needs it, and only a change', async () => {
  token = 'sesame'
  const authorization = (text: string) => ({ headers: { authorization: text } })
  expect((await request('POST', '/lameduck')).status).toBe(401)
  expect((await request('DELETE', '/lameduck', authorization('Bearer open'))).status).toBe(401)
  expect((await request('POST', '/config', authorization('sesame'))).status).toBe(401)
  const sound = { body: { pool_size: 3 }, peer: ELSEWHERE, ...authorization('Bearer sesame') }
  expect((await request('POST', '/config', sound)).status).toBe(200)
  expect((await request('GET', '/config', { peer: ELSEWHERE })).status).toBe(200)
})

test('without a token only this machine may change anything', async () => {
  for (const peer of [ELSEWHERE, '::2', '127.0.0.1.evil.example', '::ffff:10.0.0.1']) {
    expect((await request('POST', '/lameduck', { peer })).status).toBe(403)
  }
  for (const peer of ['127.0.0.5', '::1', '::ffff:127.0.0.1']) {
    expect((await request('POST', '/config', { body: {}, peer })).status).toBe(200)
  }
})

test("another site's page may not change anything through its reader's browser", async () => {
  const headers = { origin: 'http://evil.example' }
  expect((await request('POST', '/config', { body: {}, headers })).status).toBe(403)
  const own = { origin: 'http://localhost:15200' }
  expect((await request('POST', '/config', { body: {}, headers: own })).status).toBe(200)
})

test('an action gets the body, and only who has the token asks for it', async () => {
  const body = { said: 'hello' }
  expect((await request('POST', '/actions/echo', { body })).json).toEqual({ heard: 'hello' })
  expect((await request('POST', '/actions/echo', { body: '[]' })).status).toBe(400)
  expect((await request('POST', '/actions/nothing')).status).toBe(404)
  expect((await request('GET', '/actions/echo')).status).toBe(404)
  token = 'open sesame'
  expect((await request('POST', '/actions/echo', { body })).status).toBe(401)
})

test('debug lists its views and shows them with every number exact', async () => {
  expect((await request('GET', '/debug')).json).toEqual(['/debug/pools'])
  expect((await request('GET', '/debug/pools')).json).toEqual({
    waiting: [1, '1152921504606846976'],
  })
  expect((await request('GET', '/debug/nothing')).status).toBe(404)
})

test('the page shows state and status, with nothing of it taken for HTML', async () => {
  reasons = ['no <leader>']
  const { text } = await request('GET', '/')
  expect(text).toContain('no: no &lt;leader&gt;')
  expect(text).toContain('&lt;script&gt;')
  expect(text).not.toContain('<script>')
})

test('what is not there is 404', async () => {
  expect(await request('GET', '/nope')).toMatchObject({
    status: 404,
    json: { error: 'no such path: /nope' },
  })
})
