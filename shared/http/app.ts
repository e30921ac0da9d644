import { Hono, type Context, type Next } from 'hono'
import { ConfigError, NotLiveError } from '../config/errors.ts'
import { parseDuration } from '../config/units.ts'
import type { Fields } from '../config/fields.ts'
import type { ConfigStore } from '../config/store.ts'
import type { Lameduck } from '../lifecycle/lameduck.ts'
import type { BuildInfo } from '../lifecycle/version.ts'
import type { Logger } from '../log/logger.ts'
import type { MetricsRegistry } from '../metrics/registry.ts'
import { authorize } from './authorize.ts'
import { toJson } from './json.ts'
import { statusPage } from './status-page.ts'

/** What the paths show and change. Functions are asked at each request. */
export interface AppOptions<F extends Fields> {
  service: string
  id: string
  build: BuildInfo
  config: ConfigStore<F>
  metrics: MetricsRegistry
  lameduck: Lameduck
  log: Logger
  /** Why the service is not ready; empty when it is. */
  notReady: () => readonly string[]
  token: () => string | undefined
  /** The period of a POST /lameduck that names none. */
  lameduckPeriodMs: () => number
  debug: () => Readonly<Record<string, () => unknown>>
  /** What POST /actions/NAME does. */
  actions: () => Readonly<Record<string, Action>>
  status: () => unknown
}

/** Something that the service can be asked to do; `signal` aborts when whoever asked has gone. */
export type Action = (body: Record<string, unknown>, signal: AbortSignal) => Promise<unknown>

/** Where actions are. */
export const ACTIONS = '/actions/'

/** What Bun.serve tells a request about its connection. */
export interface Connection {
  Bindings: { peer: string | undefined }
}

type C = Context<Connection>

/** The paths that every service answers. */
export function createApp<F extends Fields>(options: AppOptions<F>): Hono<Connection> {
  const app = new Hono<Connection>()
  app.get('/live', (c) => c.text('ok\n'))
  app.get('/ready', (c) => {
    const reasons = options.notReady()
    return reasons.length === 0 ? c.text('ok\n') : json(c, { reasons }, 503)
  })
  app.get('/version', (c) =>
    json(c, { service: options.service, id: options.id, ...options.build }),
  )
  app.get('/metrics', (c) => {
    return c.body(options.metrics.text(), 200, { 'content-type': 'text/plain; version=0.0.4' })
  })
  app.get('/', (c) => c.html(statusPage(options)))
  const guarded = guard(options)
  addLameduck(app, options, guarded)
  addConfig(app, options, guarded)
  addDebug(app, options)
  addActions(app, options, guarded)
  app.notFound((c) => json(c, { error: `no such path: ${c.req.path}` }, 404))
  app.onError((error, c) => {
    options.log.error('http request failed', { path: c.req.path, error })
    return json(c, { error: error.message }, 500)
  })
  return app
}

function json(c: C, value: unknown, status: 200 | 400 | 401 | 403 | 404 | 409 | 500 | 503 = 200) {
  return c.body(`${toJson(value)}\n`, status, { 'content-type': 'application/json' })
}

type Guard = (c: C, next: Next) => Promise<Response | void>

/** Lets through who may change something. A browser may not, on behalf of another site's page. */
function guard<F extends Fields>({ token }: AppOptions<F>): Guard {
  return async (c, next) => {
    const origin = c.req.header('origin')
    if (origin !== undefined && new URL(c.req.url).origin !== origin) {
      return json(c, { error: 'requests from another site are refused' }, 403)
    }
    const authorization = c.req.header('authorization')
    const verdict = authorize({ token: token(), authorization, peer: c.env.peer })
    if (verdict === 'allowed') return next()
    if (verdict === 'unauthenticated') {
      c.header('www-authenticate', 'Bearer')
      return json(c, { error: 'needs the token of the secrets folder: Authorization: Bearer' }, 401)
    }
    return json(c, { error: 'only from this machine, as there is no token' }, 403)
  }
}

function addLameduck<F extends Fields>(
  app: Hono<Connection>,
  options: AppOptions<F>,
  guarded: Guard,
): void {
  const { lameduck } = options
  const show = (c: C, status: 200 | 409 = 200, error?: string) => {
    const { state, deadlineMs, sessions } = lameduck
    return json(c, { state, deadline_ms: deadlineMs, sessions, error }, status)
  }
  app.get('/lameduck', (c) => show(c))
  app.post('/lameduck', guarded, async (c) => {
    const body = await readObject(c)
    if (body === undefined) return json(c, { error: 'the body is not a JSON object' }, 400)
    const { period } = body
    try {
      if (period !== undefined && typeof period !== 'string') throw new RangeError('not a text')
      const periodMs = period === undefined ? options.lameduckPeriodMs() : parseDuration(period)
      void lameduck.begin(periodMs)
      return show(c)
    } catch (error) {
      return json(c, { error: `period: ${error instanceof Error ? error.message : ''}` }, 400)
    }
  })
  app.delete('/lameduck', guarded, (c) => {
    return lameduck.cancel() ? show(c) : show(c, 409, 'sessions were cut, or this is no way back')
  })
}

function addConfig<F extends Fields>(
  app: Hono<Connection>,
  { config, log }: AppOptions<F>,
  guarded: Guard,
): void {
  app.get('/config', (c) => json(c, config.view()))
  app.post('/config', guarded, async (c) => {
    const body = await readObject(c)
    if (body === undefined) return json(c, { error: 'the body is not a JSON object' }, 400)
    const entries = Object.entries(body).map(([name, value]) => [name, plainText(value)] as const)
    const bad = entries.filter(([, text]) => text === undefined).map(([name]) => name)
    if (bad.length > 0) return json(c, { errors: bad.map((name) => `${name}: not a text`) }, 400)
    try {
      const view = config.set(Object.fromEntries(entries) as Record<string, string>)
      log.info('settings changed over http', { settings: Object.keys(body) })
      return json(c, view)
    } catch (error) {
      if (error instanceof ConfigError) return json(c, { errors: error.problems }, 400)
      if (!(error instanceof NotLiveError)) throw error
      return json(c, { error: error.message, not_live: error.names }, 409)
    }
  })
}

function addDebug<F extends Fields>(app: Hono<Connection>, { debug }: AppOptions<F>): void {
  app.get('/debug', (c) =>
    json(
      c,
      Object.keys(debug()).map((name) => `/debug/${name}`),
    ),
  )
  app.get('/debug/:name{.+}', (c) => {
    const view = debug()[c.req.param('name')]
    if (view === undefined) return json(c, { error: 'nothing of that name; see /debug' }, 404)
    return json(c, view())
  })
}

function addActions<F extends Fields>(
  app: Hono<Connection>,
  { actions }: AppOptions<F>,
  guarded: Guard,
): void {
  app.post(`${ACTIONS}:name`, guarded, async (c) => {
    const action = actions()[c.req.param('name') ?? '']
    if (action === undefined) return json(c, { error: 'nothing of that name can be done' }, 404)
    const body = await readObject(c)
    if (body === undefined) return json(c, { error: 'the body is not a JSON object' }, 400)
    return json(c, await action(body, c.req.raw.signal))
  })
}

/** The body as an object, an empty one for no body at all; undefined when it is something else. */
async function readObject(c: C): Promise<Record<string, unknown> | undefined> {
  const text = await c.req.text()
  if (text.trim() === '') return {}
  try {
    const value: unknown = JSON.parse(text)
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isObject ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function plainText(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  return typeof value === 'number' || typeof value === 'boolean' ? `${value}` : undefined
}
