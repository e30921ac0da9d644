// Goal: the checker is not blind on real processes: with a guard taken out it reports what is lost,
// and with all of them it does not.
// Method: for each guard a scene in which it is all that stands between clients and a wrong answer,
// played with the guard and without. CHAOS_GUARDS=0 leaves the former out; CHAOS_SCENES=lease,lsn
// plays these guards only (keys of guards.ts), the others are skipped.
import { afterEach, describe, expect, test } from 'bun:test'
import { Random, runSeed } from '../support/random.ts'
import { until } from '../support/until.ts'
import { checkHeld, checkLogs } from './check-log.ts'
import { chosen, type Guard, GUARDS } from './guards.ts'
import type { Anomaly } from './history.ts'
import { heldBy } from './logs.ts'
import { Planted } from './planted.ts'
import { startSite, type Site } from './site.ts'
import { Workload } from './workload.ts'

const TEST_MS = 240_000
const AGAIN_MS_MAX = 60_000
/** Of each service, for a scene that did not end. */
const LINES_OF_LOGS = 80

let site: Site | undefined
let workload: Workload | undefined
afterEach(clear, TEST_MS)

async function clear(): Promise<void> {
  for (const node of site?.nodes ?? []) node.thaw()
  await workload?.[Symbol.asyncDispose]()
  await site?.[Symbol.asyncDispose]()
  site = undefined
  workload = undefined
}

async function play({ scene }: Guard, root: string): Promise<Anomaly[]> {
  site = await startSite({ gateways: 2, root })
  const addresses = site.gateways.slice(0, 1).map(({ address }) => address)
  const random = new Random(runSeed('planted'))
  workload = new Workload({ addresses, random, writers: 4, readers: 2 })
  await workload.start()
  const divergence = await scene(site, workload).catch((error: unknown) => {
    console.error(site?.logs(LINES_OF_LOGS))
    throw error
  })
  if (divergence !== undefined && divergence.length > 0) return divergence
  // Without a guard whoever leads may be replaced while it is looked at.
  const { id, held, history } = await until(async () => {
    const leader = await site?.serving()
    if (leader === undefined) return undefined
    const before = [...workload!.history] // what is written later need not be in what is held
    return { id: leader.id, held: await heldBy(site!.node(leader.id)), history: before }
  }, AGAIN_MS_MAX)
  return [...checkLogs(history), ...checkHeld(history, held, id)]
}

const keys = chosen(process.env['CHAOS_SCENES'])

for (const guard of GUARDS) {
  const { key, name, edits, setting = [], reports } = guard
  describe(name, () => {
    test.skipIf(process.env['CHAOS_GUARDS'] === '0' || !keys.has(key))(
      'stands: nothing is reported',
      async () => {
        using planted = new Planted(setting)
        expect(await play(guard, planted.root)).toEqual([])
      },
      TEST_MS,
    )

    test.skipIf(!keys.has(key))(
      'is taken out: that is reported',
      async () => {
        using planted = new Planted([...setting, ...edits])
        const found = await play(guard, planted.root)
        const reported = found.map(({ what }) => what)
        const [first] = found.filter(({ what }) => reports.test(what))
        console.error(`without ${name}: ${JSON.stringify(count(reported))}; ${first?.detail}`)
        expect(reported.filter((what) => reports.test(what))).not.toEqual([])
      },
      TEST_MS,
    )
  })
}

const count = (words: readonly string[]): Record<string, number> =>
  Object.fromEntries(
    [...Map.groupBy(words, (word) => word)].map(([word, all]) => [word, all.length]),
  )
