// Goal: the checker is not blind on real processes: with a guard taken out it reports what is lost,
// and with all of them it does not.
// Method: for each guard a scene in which it is all that stands between clients and a wrong answer,
// played with the guard and without. CHAOS_GUARDS=0 leaves the former out.
import { afterEach, describe, expect, test } from 'bun:test'
import { Random, runSeed } from '../support/random.ts'
import { until } from '../support/until.ts'
import { checkHeld, checkLogs } from './check-log.ts'
import type { Anomaly } from './history.ts'
import { heldBy } from './logs.ts'
import { type Edit, Planted } from './planted.ts'
import {
  followerAheadOfTheFork,
  followerWithoutItsStream,
  leaderAlone,
  leaderOutOfTheWorld,
  type Scene,
  twoOnOneTimeline,
} from './scenes.ts'
import { startSite, type Site } from './site.ts'
import { Workload } from './workload.ts'

const TEST_MS = 240_000
const AGAIN_MS_MAX = 60_000
/** Of each service, for a scene that did not end. */
const LINES_OF_LOGS = 80

type Guard = {
  name: string
  edits: Edit[]
  /** What the scene needs, with the guard and without. */
  setting?: Edit[]
  scene: Scene
  reports: RegExp
}

const GUARDS: Guard[] = [
  {
    name: 'the lease',
    edits: [
      {
        file: 'pooler/term/lease.ts',
        from: 'return this.#since !== undefined && elapsedMs(this.#since) < this.#lengthMs',
        to: 'return true',
      },
      {
        file: 'pooler/term/lease.ts',
        from: 'return this.#endless || now() < this.#untilMs',
        to: 'return true',
      },
    ],
    scene: leaderOutOfTheWorld,
    reports: /^stale read$/,
  },
  {
    name: 'the list of synchronous standbys',
    edits: [
      {
        file: 'pooler/term/promote.ts',
        from: 'synchronous_standby_names: names }',
        to: "synchronous_standby_names: '' }",
      },
      {
        file: 'pooler/term/promote.ts',
        from: 'return row.names === names ? true : undefined',
        to: 'return true',
      },
    ],
    scene: leaderAlone,
    reports: /^(lost write|read and gone again)$/,
  },
  {
    name: 'the proof of a prefix',
    edits: [
      {
        file: 'pooler/term/follow.ts',
        from: 'whyNoPrefix(own, leader) ?? (again ?',
        to: '(false ?',
      },
    ],
    scene: followerAheadOfTheFork,
    reports: /^(lost write|read and gone again|nobody can lead any more)$/,
  },
  {
    name: 'the greater of two LSNs',
    edits: [
      {
        file: 'pooler/term/rule-store.ts',
        from: 'GREATEST(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())',
        to: 'COALESCE(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())',
      },
    ],
    // A server that starts asks for a stream where nobody is, as it does for a while when those
    // who could stream to it have no walsender left.
    setting: [
      {
        file: 'pooler/term/run-standby.ts',
        from: 'await member.pgctld.start(LONE_STANDBY, START_TIMEOUT_MS)',
        to:
          "const primary_conninfo = 'host=127.0.0.1 port=9 application_name=nobody'\n" +
          '  await member.pgctld.start({ ...LONE_STANDBY, primary_conninfo }, START_TIMEOUT_MS)',
      },
    ],
    scene: followerWithoutItsStream,
    reports: /^(lost write|read and gone again)$/,
  },
  {
    name: 'reserved timelines',
    edits: [
      {
        file: 'pgctld/postgres/promote.ts',
        from: 'reserveTimelines(point, timeline)',
        to: 'void point',
      },
      {
        file: 'pgctld/postgres/promote.ts',
        from: 'if (taken === wanted && existsSync',
        to: 'if (taken <= wanted || existsSync',
      },
      {
        file: 'pooler/term/follow.ts',
        from: 'return Number(rule.number.coordinatorTerm) + 1',
        to: 'return rule.number.coordinatorTerm === 0n ? 1 : 2',
      },
      {
        file: 'pooler/term/follow.ts',
        from: 'view.receivedTimeline === timelineOf(order.rule)',
        to: 'view.receivedTimeline >= timelineOf(order.rule)',
      },
    ],
    scene: twoOnOneTimeline,
    reports: /^(lost write|read and gone again|nobody can lead any more)$/,
  },
]

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
  const { id, held } = await until(async () => {
    const leader = await site?.serving()
    return leader && { id: leader.id, held: await heldBy(site!.node(leader.id)) }
  }, AGAIN_MS_MAX)
  const history = [...workload.history]
  return [...checkLogs(history), ...checkHeld(history, held, id)]
}

for (const guard of GUARDS) {
  const { name, edits, setting = [], reports } = guard
  describe(name, () => {
    test.skipIf(process.env['CHAOS_GUARDS'] === '0')(
      'stands: nothing is reported',
      async () => {
        using planted = new Planted(setting)
        expect(await play(guard, planted.root)).toEqual([])
      },
      TEST_MS,
    )

    test(
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
