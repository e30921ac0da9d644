// Goal: a planned switchover is an error at no client, and clients hardly wait for it.
// Method: rounds of it under paced writers in autocommit, every other one with a prepared
// statement, readers, and transactions of several statements; CHAOS_ROUNDS=50 CHAOS_WRITERS=32
// CHAOS_READERS=16 for the whole of it. Times are printed, not judged: the machine may be busy.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { Random, runSeed } from '../support/random.ts'
import { READERS, ROUNDS, TEST_MS, WRITERS } from './budget.ts'
import { distribution } from './gaps.ts'
import { judge, playRounds } from './rounds.ts'
import { startSite, type Site } from './site.ts'
import { Workload } from './workload.ts'

const DRAIN_MS = 5000
/** What transactions that disturb each other are told at any time. */
const USUAL = /^(40001|40P01)$/

let site: Site
let workload: Workload
beforeAll(async () => {
  const random = new Random(runSeed('switchovers'))
  site = await startSite()
  const addresses = site.gateways.map(({ address }) => address)
  const crowd = { writers: WRITERS, readers: READERS, listers: 2, bankers: 2 }
  workload = new Workload({ addresses, random, ...crowd })
  await workload.start()
}, TEST_MS)
afterAll(async () => {
  await workload?.[Symbol.asyncDispose]()
  await site?.[Symbol.asyncDispose]()
}, TEST_MS)

test(
  'a switchover is an error at no client',
  async () => {
    const drains: number[] = []
    const pauses: number[] = []
    const fault = async (): Promise<void> => {
      const { drainedMs, pausedMs, cut } = await site.switchover(DRAIN_MS)
      drains.push(drainedMs)
      pauses.push(pausedMs)
      if (cut > 0) console.error(`${cut} sessions were cut`)
    }
    const results = await playRounds({
      name: 'switchover',
      site,
      workload,
      fault,
      count: ROUNDS,
    })
    console.error(`switchover: drain ${distribution(drains)}; pause ${distribution(pauses)}`)
    expect(results.flatMap(({ anomalies }) => anomalies)).toEqual([])
    expect(results.every(({ leaderChanged }) => leaderChanged)).toBe(true)
    expect(workload.codeList().filter(([code]) => !USUAL.test(code))).toEqual([])
  },
  TEST_MS,
)

test(
  'the whole history is sound',
  async () => expect(await judge(site, workload)).toEqual([]),
  TEST_MS,
)
