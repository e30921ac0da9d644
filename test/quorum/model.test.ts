// Goal: the rules of quorum calls hold whatever the lines do.
// Method: clients and nodes in memory under a seed that moves one message at a time, breaks lines
// and gives calls up; after each run the nodes and the client must be as the rules say.
import { expect, test } from 'bun:test'
import { QuorumCallError } from '../../shared/quorum/errors.ts'
import type { NodeResponse } from '../../shared/quorum/node-response.ts'
import { NodePool } from '../../shared/quorum/node-pool.ts'
import { QuorumCall } from '../../shared/quorum/quorum-call.ts'
import type { Configuration } from '../../shared/quorum/configuration.ts'
import { waitForConfiguration, watchConfiguration } from '../../shared/quorum/watch.ts'
import { Random } from '../support/random.ts'
import { COUNT, ECHO, MemoryWorld } from './nodes.ts'

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const RUNS = 150
const CALLS = 40
const IDS = ['a', 'b', 'c', 'd', 'e']

type Outcome = { required: number; seen: NodeResponse<string>[]; ended: 'value' | 'error' }

/** Lets everything that is due in this turn happen. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function call(
  configuration: Configuration,
  name: string,
  random: Random,
  outcomes: Outcome[],
): Promise<void> {
  const required = 1 + random.integer(configuration.size)
  const seen: NodeResponse<string>[] = []
  const abort = new AbortController()
  const method = random.chance(0.3) ? COUNT : ECHO
  const request = method === COUNT ? '3' : name
  const quorum = new QuorumCall<string, string>(configuration, method, request, {
    signal: abort.signal,
    interceptors: [
      async function* (_context, responses) {
        for await (const response of responses) {
          seen.push(response)
          yield response
        }
      },
    ],
  }).start()
  if (random.chance(0.1)) queueMicrotask(() => abort.abort(new Error('given up')))
  try {
    await quorum.threshold(required)
    outcomes.push({ required, seen, ended: 'value' })
  } catch (error) {
    expect(error).toBeInstanceOf(QuorumCallError)
    if ((error as QuorumCallError).code === 'ABORTED') return
    outcomes.push({ required, seen, ended: 'error' })
  }
}

test(`thresholds, order and ends hold under breaks and delays (SEED=${SEED})`, async () => {
  for (let run = 0; run < RUNS; run++) {
    const random = new Random(SEED + run)
    const world = new MemoryWorld(IDS, () => random.next())
    using pool = new NodePool({ transport: world.transport })
    const addresses = IDS.map((id) => ({ id, address: `${id}:1` }))
    const configuration = pool.configuration(addresses)
    const outcomes: Outcome[] = []
    const calls: Promise<void>[] = []
    for (let at = 0; at < CALLS; at++) {
      calls.push(call(configuration, `${at}`, random, outcomes))
      for (let steps = random.integer(12); steps > 0; steps--) world.step()
      if (random.chance(0.3)) await settle()
    }
    let over = false
    void Promise.all(calls).then(() => (over = true))
    while (!over) {
      while (world.step()) if (random.chance(0.2)) await settle()
      await settle()
    }
    for (const { required, seen, ended } of outcomes) {
      const good = new Set(seen.filter(({ kind }) => kind === 'value').map(({ nodeId }) => nodeId))
      const bad = seen.filter(({ kind }) => kind === 'error')
      if (ended === 'value') expect(good.size).toBe(required)
      else expect(IDS.length - new Set(bad.map(({ nodeId }) => nodeId)).size).toBeLessThan(required)
      expect(new Set(bad.map(({ nodeId }) => nodeId)).size).toBe(bad.length)
    }
    for (const { begun, atOnce } of world.seen.values()) {
      const numbers = begun.map(Number)
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b)) // in order
      expect(new Set(numbers).size).toBe(numbers.length) // at most once
      expect(atOnce).toBeLessThanOrEqual(1)
    }
    expect(pool.pending).toBe(0)
  }
})

test('a watch yields the last configuration, whatever it left out', async () => {
  for (let run = 0; run < RUNS; run++) {
    const random = new Random(SEED + run)
    const world = new MemoryWorld(IDS, () => random.next())
    using pool = new NodePool({ transport: world.transport })
    const sizes = Array.from({ length: 20 }, () => 1 + random.integer(IDS.length))
    async function* states(): AsyncGenerator<number> {
      for (const size of sizes) {
        if (random.chance(0.5)) await settle()
        yield size
      }
    }
    const derive = (size: number): Configuration =>
      pool.configuration(IDS.slice(0, size).map((id) => ({ id, address: `${id}:1` })))
    const seen: number[] = []
    for await (const configuration of watchConfiguration(states(), derive)) {
      expect(configuration.size).not.toBe(seen.at(-1))
      seen.push(configuration.size)
      if (random.chance(0.5)) await settle()
    }
    expect(seen.at(-1)).toBe(sizes.at(-1) as number)
    const enough = waitForConfiguration(watchConfiguration(states(), derive), Math.max(...sizes))
    expect((await enough).size).toBe(Math.max(...sizes))
  }
})
