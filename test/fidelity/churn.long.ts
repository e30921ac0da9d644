// The long form of churn.test.ts; see churn.ts for the goal and the method.
import { expect, test } from 'bun:test'
import { describeChurn, runChurn } from './churn.ts'
import { startPooled } from './pooled.ts'

const SEED = Number(Bun.env['FIDELITY_SEED'] ?? Bun.env['SEED'] ?? Math.floor(Math.random() * 1e6))
const SECONDS = Number(Bun.env['FIDELITY_SECONDS'] ?? 60)
/** The tail of it that runs when the time is over. */
const MARGIN_SECONDS = 120

test(
  'two hundred clients over 32 backends: each has a session of its own',
  async () => {
    await using pooled = await startPooled({ backends: 32, pinned: 28 })
    const { address } = pooled
    const result = await runChurn({ address, clients: 200, seconds: SECONDS, seed: SEED })
    console.error(`FIDELITY_SEED=${SEED}:\n  ${describeChurn(result).join('\n  ')}`)
    console.error(`  ${await pooled.describe()}`)
    for (const [move, count] of result.moves) console.error(`    ${count} ${move}`)
    expect(result.leaks).toEqual([])
    expect(result.wrong).toEqual([])
    expect(Math.min(...result.progress)).toBeGreaterThan(0)
    await pooled.expectNothingLeft()
  },
  (SECONDS + MARGIN_SECONDS) * 1000,
)
