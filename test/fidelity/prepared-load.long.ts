// The long form of prepared-load.test.ts; see prepared-load.ts for the goal and the method.
import { expect, test } from 'bun:test'
import { definitionBytes } from '../../shared/link/definition-bytes.ts'
import { inMegabytes, memoryOf, type Memory } from '../load/memory.ts'
import { startPooled } from './pooled.ts'
import { loadPrepared } from './prepared-load.ts'

const SESSIONS = Number(Bun.env['FIDELITY_SESSIONS'] ?? 1000)
const STATEMENTS = 1000
const TEXT_BYTES = 120
const MB = 1024 * 1024
const BACKENDS = 16
/** Its Parse message: the text, types, and the name that sessions share it under. */
const MESSAGE_BYTES = TEXT_BYTES + 40
/** The bounds of this run, in bytes of memory; all but the text's length are defaults. */
const STATEMENT_CACHE = { gateway: 512 * MB, pooler: 32 * MB }
const PREPARED_MAX = 500
/** A collector lets a heap grow by half of what it holds before it looks again. */
const SLACK = 1.5
/** What any such load takes: code, buffers, garbage of the moment. Measured: 40 to 120 MB. */
const WORK_BYTES = 150 * MB
const GROWTH_BYTES_MAX = {
  gateway: SLACK * STATEMENT_CACHE.gateway + WORK_BYTES,
  pooler:
    SLACK * (STATEMENT_CACHE.pooler + BACKENDS * PREPARED_MAX * definitionBytes(MESSAGE_BYTES)) +
    WORK_BYTES,
}
/** By how much memory varies from one moment to another: more sessions would have taken 800 MB. */
const NOISE_BYTES = 80 * MB
/** A million statements are let go. */
const CLOSED_MS = 60_000
const LIMIT_MS = 1_200_000

test(
  'a thousand sessions prepare a thousand statements each',
  async () => {
    const pinned = 4
    await using pooled = await startPooled({ backends: BACKENDS, pinned })
    const pids = { gateway: await pooled.gatewayPid(), pooler: await pooled.poolerPid() }
    const idle = memoryOf(pids)
    const grown: Memory[] = []
    const counted: number[] = []
    const { address } = pooled
    const stages = [Math.ceil(SESSIONS * 0.3), SESSIONS]
    const options = { address, stages, statements: STATEMENTS, textBytes: TEXT_BYTES }
    console.error(`idle: ${inMegabytes(idle)}; bounds over it: ${inMegabytes(GROWTH_BYTES_MAX)}`)
    const load = await loadPrepared(options, async () => {
      const { gateway, pooler } = memoryOf(pids)
      grown.push({ gateway: gateway - idle.gateway, pooler: pooler - idle.pooler })
      counted.push(await pooled.statementBytes())
      const over = inMegabytes(grown.at(-1) as Memory)
      const statements = ((counted.at(-1) ?? 0) / MB).toFixed(1)
      console.error(`${stages[grown.length - 1]} sessions: over idle ${over};`)
      console.error(`  the gateway counts ${statements} MB of statements`)
    })
    console.error(`${load.prepared} prepared, ${load.refused} refused, ${load.ran} ran`)
    expect(load.wrong).toEqual([])
    expect(load.ran).toBe(load.prepared)
    expect(load.prepared + load.refused).toBe(SESSIONS * STATEMENTS)
    const [part, full] = grown as [Memory, Memory]
    expect(counted[1]).toBeLessThanOrEqual(STATEMENT_CACHE.gateway)
    expect(full.gateway).toBeLessThan(GROWTH_BYTES_MAX.gateway)
    expect(full.pooler).toBeLessThan(GROWTH_BYTES_MAX.pooler)
    // A gateway grows by what it counts, a pooler not at all once it keeps as many as it may.
    const more = (counted[1] ?? 0) - (counted[0] ?? 0)
    expect(full.gateway - part.gateway).toBeLessThan(SLACK * more + NOISE_BYTES)
    const kept = (stages[0] ?? 0) * STATEMENTS * definitionBytes(MESSAGE_BYTES)
    if (kept > STATEMENT_CACHE.pooler) {
      expect(full.pooler - part.pooler).toBeLessThan(NOISE_BYTES)
    }
    await pooled.expectNothingLeft(CLOSED_MS)
  },
  LIMIT_MS,
)
