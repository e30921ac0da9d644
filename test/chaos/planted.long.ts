// Goal: the checker is not blind on real processes: with a guard taken out it reports what is lost,
// and with all of them it does not.
// Method: for each guard a scene in which it is all that stands between clients and a wrong answer,
// played with the guard and without. CHAOS_GUARDS=0 leaves the former out.
import { afterEach, describe, expect, test } from 'bun:test'
import { pause } from '../support/pace.ts'
import { Random, runSeed } from '../support/random.ts'
import { until } from '../support/until.ts'
import { checkHeld, checkLogs } from './check-log.ts'
import type { Anomaly } from './history.ts'
import { heldBy } from './logs.ts'
import type { SiteNode } from './node.ts'
import { OldSide } from './old-side.ts'
import { type Edit, Planted } from './planted.ts'
import { startSite, type Site } from './site.ts'
import { Workload } from './workload.ts'

const TEST_MS = 240_000
const AGAIN_MS_MAX = 60_000
/** Who is ahead of whom in a scene is chance: as many of them may pass before one shows it. */
const ROUNDS_MAX = 3
const ASK_MS = 1500
const ALONE_MS = 1500
/** More WAL than the writers make meanwhile, and than waits on its way to a frozen follower. */
const TAIL = "create table tail as select repeat('x', 2000) from generate_series(1, 8000)"

type Scene = (site: Site, workload: Workload) => Promise<Anomaly[] | void>
type Guard = { name: string; edits: Edit[]; scene: Scene; reports: RegExp }

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

async function play({ scene }: Guard, root?: string): Promise<Anomaly[]> {
  site = await startSite({ gateways: 2, ...(root === undefined ? {} : { root }) })
  const addresses = site.gateways.slice(0, 1).map(({ address }) => address)
  const random = new Random(runSeed('planted'))
  workload = new Workload({ addresses, random, writers: 4, readers: 2 })
  await workload.start()
  const divergence = await scene(site, workload)
  if (divergence !== undefined && divergence.length > 0) return divergence
  const leader = await until(() => site?.serving(), AGAIN_MS_MAX)
  const history = [...workload.history]
  return [
    ...checkLogs(history),
    ...checkHeld(history, await heldBy(site.node(leader.id)), leader.id),
  ]
}

for (const guard of GUARDS) {
  describe(guard.name, () => {
    test.skipIf(process.env['CHAOS_GUARDS'] === '0')(
      'stands: nothing is reported',
      async () => expect(await play(guard)).toEqual([]),
      TEST_MS,
    )

    test(
      'is taken out: that is reported',
      async () => {
        using planted = new Planted(guard.edits)
        let reported: string[] = []
        for (let round = 0; round < ROUNDS_MAX && reported.length === 0; round++) {
          await clear()
          const found = (await play(guard, planted.root)).map(({ what }) => what)
          console.error(`without ${guard.name}: ${JSON.stringify(count(found))}`)
          reported = found.filter((what) => guard.reports.test(what))
        }
        expect(reported).not.toEqual([])
      },
      TEST_MS,
    )
  })
}

const count = (words: readonly string[]): Record<string, number> =>
  Object.fromEntries(
    [...Map.groupBy(words, (word) => word)].map(([word, all]) => [word, all.length]),
  )

/** Its pooler is frozen until another leads; sessions with it ask as soon as it goes on. */
async function leaderOutOfTheWorld(on: Site, clients: Workload): Promise<void> {
  const leader = await on.whole()
  await using oldSide = new OldSide(on, leader)
  await until(() => oldSide.prepare().then(() => true), AGAIN_MS_MAX)
  leader.freeze('pooler')
  await acknowledged(clients, performance.now() + 200)
  const asking = oldSide.ask()
  await acknowledged(clients, performance.now())
  leader.thaw()
  await pause(ASK_MS)
  clients.history.push(...oldSide.finish())
  await Promise.all(asking)
}

/** Nobody takes its WAL for a while, and then it dies. */
async function leaderAlone(on: Site, clients: Workload): Promise<void> {
  const leader = await on.whole()
  const others = on.nodes.filter((node) => node !== leader)
  for (const node of others) node.freeze('postgres')
  const tail = leader.sql(TAIL).catch(() => undefined)
  await pause(ALONE_MS)
  leader.kill('all')
  await tail
  for (const node of others) node.thaw()
  await acknowledged(clients, performance.now())
}

/** Who led has a tail that nobody else has; of its followers one is frozen, the new leader dies. */
async function followerAheadOfTheFork(on: Site, clients: Workload): Promise<Anomaly[]> {
  const old = await on.whole()
  const others = on.nodes.filter((node) => node !== old)
  for (const node of others) node.freeze('postgres')
  const tail = old.sql(TAIL).catch(() => undefined)
  await pause(ALONE_MS)
  old.kill('all')
  await tail
  for (const node of others) node.thaw()
  await acknowledged(clients, performance.now())
  const leader = on.node((await until(() => on.serving(), AGAIN_MS_MAX)).id)
  on.revive()
  await until(() => isFollowedBy(leader, old), AGAIN_MS_MAX)
  const third = others.find((node) => node !== leader)
  third?.freeze('postgres')
  await pause(ALONE_MS)
  leader.kill('all')
  third?.thaw()
  try {
    await acknowledged(clients, performance.now())
    return []
  } catch (error) {
    return [{ what: 'nobody can lead any more', detail: String(error) }]
  }
}

async function isFollowedBy(leader: SiteNode, follower: SiteNode): Promise<boolean> {
  const rows = await leader.sql(
    `select 1 from pg_stat_replication where application_name = '${follower.id}'`,
  )
  return rows.length > 0
}

async function acknowledged(clients: Workload, fromMs: number): Promise<void> {
  await until(
    () =>
      clients.history.some((done) => {
        return done.kind === 'write' && done.outcome === 'ok' && done.invokedMs >= fromMs
      }),
    { deadlineMs: AGAIN_MS_MAX, what: 'a write is acknowledged' },
  )
}
