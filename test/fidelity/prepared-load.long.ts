// The long form of prepared-load.test.ts; see prepared-load.ts for the goal and the method.
import { expect, test } from 'bun:test'
import { inMegabytes, memoryOf, type Memory } from '../load/memory.ts'
import { startPooled } from './pooled.ts'
import { loadPrepared } from './prepared-load.ts'

const SESSIONS = Number(Bun.env['FIDELITY_SESSIONS'] ?? 1000)
const STATEMENTS = 1000
const TEXT_BYTES = 120
const MB = 1024 * 1024
/**
 * What each process may take beyond its idle memory: the gateway its statement cache (128 MB of
 * texts by default) and a record for each name of each session, the pooler what its backends hold.
 */
const GROWTH_BYTES_MAX = { gateway: 900 * MB, pooler: 300 * MB }
const LIMIT_MS = 1_200_000

test(
  'a thousand sessions prepare a thousand statements each',
  async () => {
    await using pooled = await startPooled({ backends: 16, pinned: 4 })
    const pids = { gateway: await pooled.gatewayPid(), pooler: await pooled.poolerPid() }
    const idle = memoryOf(pids)
    let full: Memory = idle
    const { address } = pooled
    const options = { address, sessions: SESSIONS, statements: STATEMENTS, textBytes: TEXT_BYTES }
    const load = await loadPrepared(options, () => {
      full = memoryOf(pids)
    })
    const grown = { gateway: full.gateway - idle.gateway, pooler: full.pooler - idle.pooler }
    console.error(`${load.prepared} prepared, ${load.refused} refused, ${load.ran} ran`)
    console.error(`idle: ${inMegabytes(idle)}; over idle with all prepared: ${inMegabytes(grown)}`)
    expect(load.wrong).toEqual([])
    expect(load.ran).toBe(load.prepared)
    expect(load.prepared + load.refused).toBe(SESSIONS * STATEMENTS)
    expect(grown.gateway).toBeLessThan(GROWTH_BYTES_MAX.gateway)
    expect(grown.pooler).toBeLessThan(GROWTH_BYTES_MAX.pooler)
    await pooled.expectNothingLeft()
  },
  LIMIT_MS,
)
