// The short form of prepared-load.long.ts; see prepared-load.ts for the goal and the method. The
// gateway's bound is set so low that it is met.
import { expect, test } from 'bun:test'
import { memoryOf, inMegabytes } from '../load/memory.ts'
import { startPooled } from './pooled.ts'
import { loadPrepared } from './prepared-load.ts'

const SESSIONS = 20
const STATEMENTS = 100
const TEXT_BYTES = 1000
const CACHE_BYTES = 1024 * 1024

test('statements beyond the bound are refused at Parse, all others run', async () => {
  const set = [`gateway.statement_cache=${CACHE_BYTES}B`]
  await using pooled = await startPooled({ backends: 8, pinned: 4, set })
  const pids = { gateway: await pooled.gatewayPid(), pooler: await pooled.poolerPid() }
  const { address } = pooled
  const options = { address, sessions: SESSIONS, statements: STATEMENTS, textBytes: TEXT_BYTES }
  const load = await loadPrepared(options, () => {
    console.error(`with all prepared: ${inMegabytes(memoryOf(pids))}`)
  })
  console.error(`${load.prepared} prepared, ${load.refused} refused, ${load.ran} ran`)
  expect(load.wrong).toEqual([])
  expect(load.ran).toBe(load.prepared)
  expect(load.prepared + load.refused).toBe(SESSIONS * STATEMENTS)
  expect(load.refused).toBeGreaterThan(0)
  expect(load.prepared).toBeGreaterThan(CACHE_BYTES / TEXT_BYTES / 2)
  await pooled.expectNothingLeft()
}, 120_000)
