// The short form of prepared-load.long.ts; see prepared-load.ts for the goal and the method. The
// bounds are set so low that they are met.
import { expect, test } from 'bun:test'
import { memoryOf, inMegabytes } from '../load/memory.ts'
import { startPooled } from './pooled.ts'
import { loadPrepared } from './prepared-load.ts'

const SESSIONS = 20
const STATEMENTS = 100
const TEXT_BYTES = 1000
const MB = 1024 * 1024
const CACHE_BYTES = MB

test('statements beyond the bound are refused at Parse, all others run', async () => {
  const set = [`gateway.statement_cache=${CACHE_BYTES}B`]
  await using pooled = await startPooled({ backends: 8, pinned: 4, set })
  const pids = { gateway: await pooled.gatewayPid(), pooler: await pooled.poolerPid() }
  const { address } = pooled
  const options = { address, stages: [SESSIONS], statements: STATEMENTS, textBytes: TEXT_BYTES }
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

test('statements beyond what a pooler keeps are sent to it again', async () => {
  const set = ['pooler.statement_cache=1MB', 'pooler.prepared_cache=64kB']
  await using pooled = await startPooled({ backends: 8, pinned: 4, set })
  const { address } = pooled
  // Twice over the bound, so that each was released when its turn comes.
  const options = { address, stages: [SESSIONS], statements: STATEMENTS, textBytes: TEXT_BYTES }
  let kept = 0
  const load = await loadPrepared(options, async () => {
    kept = Math.max(...(await pooled.debug('links')).map((row) => Number(row['statement_bytes'])))
    const backends = await pooled.debug('backends')
    for (const row of backends) expect(Number(row['prepared_bytes'])).toBeLessThanOrEqual(64 * 1024)
  })
  expect(load.wrong).toEqual([])
  expect(load.ran).toBe(SESSIONS * STATEMENTS)
  expect(kept).toBeGreaterThan(MB / 4)
  expect(kept).toBeLessThan(MB)
  await pooled.expectNothingLeft()
}, 120_000)
