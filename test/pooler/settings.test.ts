// Goal: what a session sets follows it from backend to backend, exactly, and reaches nobody else.
// Method: raw links against a pooler over a real Postgres. Sessions share a pool of one backend, so
// that every batch of another session is a hand-over; what each of them sees is compared with what
// it set.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { Look } from '../../shared/link/frame.ts'
import { query } from '../../shared/pgwire/frontend.ts'
import { until } from '../support/until.ts'
import { startHarness, type Harness } from './harness.ts'
import type { OpenOptions, TestStream } from './test-link.ts'

setDefaultTimeout(30_000)
let h: Harness
beforeAll(async () => {
  h = await startHarness(
    { poolSize: 1, poolWarmSize: 0 },
    {
      sql: [
        'create role app login',
        'create role limited',
        'create role gone',
        'grant limited, gone to app',
        'create schema "Odd "" Schema, x"',
        'create schema tenant_1',
        'create table t (a int)',
        'grant all on t to public',
      ],
    },
  )
}, 60_000)
afterAll(() => h[Symbol.asyncDispose]())

const IDLE = 'ReadyForQuery idle'

/** Runs `use` with sessions that are closed behind it. */
async function sessions<N extends readonly OpenOptions[]>(
  options: N,
  use: (...streams: { [K in keyof N]: TestStream }) => Promise<void>,
): Promise<void> {
  const streams: TestStream[] = []
  for (const one of options) streams.push(await h.link.open(one))
  await use(...(streams as { [K in keyof N]: TestStream }))
  for (const stream of streams) await stream.close()
  await until(() => h.server.sessions === 0)
}

/** Runs a statement that sets what is named. */
async function set(stream: TestStream, sql: string, ...names: string[]): Promise<string[]> {
  stream.names(names)
  return stream.run(query(sql), { pins: Look.Settings })
}

/** The one value that a query answers; undefined for NULL or an error. */
async function value(stream: TestStream, sql: string): Promise<string> {
  const lines = await stream.run(query(sql))
  const row = lines.find((line) => line.startsWith('DataRow ') || line.startsWith('ErrorResponse'))
  return row?.replace('DataRow ', '') ?? lines.join()
}

async function show(stream: TestStream, name: string): Promise<string> {
  return value(stream, `select current_setting('${name}', true)`)
}

describe('a setting', () => {
  test('follows its session, and no other', () =>
    sessions([{}, {}], async (one, other) => {
      expect(await set(one, "set work_mem = '7MB'", 'work_mem')).toEqual([
        'CommandComplete SET',
        IDLE,
      ])
      expect(one.settings).toBe('[["work_mem","7MB"]]')
      expect(one.pins).toBe(0)
      for (let i = 0; i < 3; i++) {
        expect(await show(other, 'work_mem')).toBe('4MB')
        expect(await show(one, 'work_mem')).toBe('7MB')
      }
    }))
})
