// The long form of cancel-race.test.ts; see cancel-race.ts for the goal and the method.
import { expect, test } from 'bun:test'
import { runCancelRace } from './cancel-race.ts'
import { startPooled } from './pooled.ts'

const SEED = Number(Bun.env['FIDELITY_SEED'] ?? Bun.env['SEED'] ?? Math.floor(Math.random() * 1e6))
const CANCELS = Number(Bun.env['FIDELITY_CANCELS'] ?? 10_000)
const LIMIT_MS = 600_000

test(
  'of ten thousand cancels none hits another session',
  async () => {
    await using pooled = await startPooled({ backends: 4, pinned: 2 })
    const { address } = pooled
    const options = { address, cancels: CANCELS, cancelers: 8, bystanders: 8, seed: SEED }
    const { hits, innocent, wrong } = await runCancelRace(options)
    console.error(`FIDELITY_SEED=${SEED}: ${CANCELS} cancels, ${hits} hit, ${innocent} beside them`)
    console.error(`  ${await pooled.describe()}`)
    expect(wrong).toEqual([])
    expect(hits).toBeGreaterThan(CANCELS / 100)
    expect(innocent).toBeGreaterThan(CANCELS / 10)
    await pooled.expectNothingLeft()
  },
  LIMIT_MS,
)
