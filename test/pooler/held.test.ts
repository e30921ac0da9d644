// Goal: a batch that is for the backend that its session holds runs on no other.
// Method: the backend is terminated; the batch that crosses LOST does nothing, the next one runs.
import { expect, test } from 'bun:test'
import { Pin } from '../../shared/link/frame.ts'
import { query } from '../../shared/pgwire/frontend.ts'
import { startHarness } from './harness.ts'

test.each([
  ['a transaction', 'begin', 0],
  ['a pin', 'select 1', Pin.AdvisoryLock | Pin.Explicit],
])('behind the loss of a backend held by %s', async (_name, text, pins) => {
  await using h = await startHarness({}, { sql: ['create table t (a int)'] })
  const stream = await h.link.open()
  await stream.run(query(text), { pins })
  await h.postgres.query(`select pg_terminate_backend(pid) from pg_stat_activity
    where backend_type = 'client backend' and pid <> pg_backend_pid()`)
  await stream.until('LOST')
  stream.batch(query('insert into t values (1)'), { held: true })
  stream.lines.length = 0
  expect((await stream.run(query('select count(*) from t'))).slice(1, 2)).toEqual(['DataRow 0'])
})
