// Goal: no seed of the simulator breaks an invariant, and the simulator is not blind.
// Method: the real consensus part of poolers and orchestrators over simulated processes, clocks,
// network and Postgres; some hundred seeds in the short form. What breaks one is printed by its
// number; main.ts says how to see its story.
import { expect, test } from 'bun:test'
import { runJob } from './job.ts'
import { RASH } from './cluster/nemesis.ts'
import { MUTANTS } from './mutants.ts'

const SEEDS = 40
const TIMEOUT_MS = 150_000

test(
  'no acknowledged write is lost, no read is stale, one leader at a time, and soon',
  async () => {
    const jobs = [
      runJob({ from: 1, count: SEEDS }),
      runJob({ from: 10_001, count: SEEDS, faults: RASH }),
    ]
    const results = await Promise.all(jobs)
    const broken = results.flatMap(({ outcomes }) => outcomes)
    expect(broken.map(({ seed, violation }) => [seed, violation])).toEqual([])
    for (const { totals } of results) {
      expect(totals.stepsMin).toBeGreaterThan(200)
      expect(totals.failoversMin).toBeGreaterThanOrEqual(1)
      expect(totals.acknowledged).toBeGreaterThan(SEEDS * 20)
    }
  },
  TIMEOUT_MS,
)

test(
  'planted bugs that show soon are found',
  async () => {
    const quick = ['list set late', 'no prefix proof', 'lease by timer', 'promise after reply']
    const results = await Promise.all(
      MUTANTS.filter(({ name }) => quick.includes(name)).map(async ({ name, edits, faults }) => {
        const faulty = faults === undefined ? {} : { faults }
        const job = { from: 1, count: 100, edits, untilFound: true, ...faulty }
        const { outcomes } = await runJob(job)
        return [name, outcomes.some(({ violation }) => violation?.rule !== 'quiet ends')]
      }),
    )
    expect(Object.fromEntries(results)).toEqual(
      Object.fromEntries(quick.map((name) => [name, true])),
    )
  },
  TIMEOUT_MS,
)

test('one seed is one story', async () => {
  const [left, right] = await Promise.all(
    [1, 2].map(() => runJob({ from: 7, count: 1, tracing: true })),
  )
  expect(left?.outcomes).toEqual(right?.outcomes)
})
