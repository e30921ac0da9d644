// The short form of cancel-race.long.ts; see cancel-race.ts for the goal and the method.
import { expect, test } from 'bun:test'
import { runCancelRace } from './cancel-race.ts'
import { startPooled } from './pooled.ts'

const SEED = Number(Bun.env['FIDELITY_SEED'] ?? Bun.env['SEED'] ?? Math.floor(Math.random() * 1e6))
const CANCELS = 300

test('of some hundred cancels none hits another session', async () => {
  await using pooled = await startPooled({ backends: 4, pinned: 2 })
  const { address } = pooled
  const options = { address, cancels: CANCELS, cancelers: 8, bystanders: 8, seed: SEED }
  const { hits, innocent, wrong } = await runCancelRace(options)
  console.error(`FIDELITY_SEED=${SEED}: ${CANCELS} cancels, ${hits} hit, ${innocent} beside them`)
  expect(wrong).toEqual([])
  expect(hits).toBeGreaterThan(0)
  expect(innocent).toBeGreaterThan(0)
  await pooled.expectNothingLeft()
}, 60_000)
