// The short form of churn.long.ts: see churn.ts for the goal and the method. Straight at Postgres
// the model itself is under test.
import { expect, test } from 'bun:test'
import { startPostgres } from '../support/postgres.ts'
import { describeChurn, runChurn, type ChurnResult } from './churn.ts'
import { startPooled } from './pooled.ts'

const SEED = Number(Bun.env['FIDELITY_SEED'] ?? Bun.env['SEED'] ?? Math.floor(Math.random() * 1e6))
const SECONDS = Number(Bun.env['FIDELITY_SECONDS'] ?? 8)
const DIRECT_SECONDS = 3

function judge(what: string, result: ChurnResult): void {
  console.error(`${what}, FIDELITY_SEED=${SEED}:\n  ${describeChurn(result).join('\n  ')}`)
  expect(result.leaks).toEqual([])
  expect(result.wrong).toEqual([])
  expect(Math.min(...result.progress)).toBeGreaterThan(0)
}

test('the model is right about a Postgres without anything between', async () => {
  await using postgres = await startPostgres()
  const address = { host: '127.0.0.1', port: postgres.port }
  judge('direct', await runChurn({ address, clients: 20, seconds: DIRECT_SECONDS, seed: SEED }))
}, 60_000)

test('a hundred clients over sixteen backends: each has a session of its own', async () => {
  await using pooled = await startPooled({ backends: 16, pinned: 14 })
  const { address } = pooled
  judge('pooled', await runChurn({ address, clients: 100, seconds: SECONDS, seed: SEED }))
  await pooled.expectNothingLeft()
  console.error(`  ${await pooled.describe()}`)
}, 120_000)
