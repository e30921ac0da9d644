// Scenes in which one guard is all that stands between clients and a wrong answer. Who is ahead of
// whom is made, not left to chance: a follower that is to be behind is dead meanwhile, since what
// waits for one that is only frozen in the buffers of its sockets would reach it afterwards.
import { pause } from '../support/pace.ts'
import { until } from '../support/until.ts'
import type { Anomaly } from './history.ts'
import type { SiteNode } from './node.ts'
import { OldSide } from './old-side.ts'
import type { Site } from './site.ts'
import type { Workload } from './workload.ts'

const AGAIN_MS_MAX = 60_000
const ASK_MS = 1500
const ALONE_MS = 1500
/** More WAL than the writers make meanwhile, and than waits on its way to a frozen follower. */
const TAIL = "create table tail as select repeat('x', 2000) from generate_series(1, 8000)"
/** More than the writers make in some seconds, and less than a segment. */
const SHORT_TAIL = TAIL.replace('8000', '4000')
const NEW_SEGMENT = 'select pg_switch_wal()'

/** What happens; it returns what no history of clients could tell. */
export type Scene = (site: Site, workload: Workload) => Promise<Anomaly[] | void>

/** Its pooler is frozen until another leads; sessions with it ask as soon as it goes on. */
export async function leaderOutOfTheWorld(on: Site, clients: Workload): Promise<void> {
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
export async function leaderAlone(on: Site, clients: Workload): Promise<void> {
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

/**
 * Who led has a tail that nobody else has. It comes back, and is the only one left to acknowledge
 * what its successor writes; that dies.
 */
export async function followerAheadOfTheFork(on: Site, clients: Workload): Promise<Anomaly[]> {
  const old = await on.whole()
  const others = on.nodes.filter((node) => node !== old)
  await old.sql(NEW_SEGMENT)
  await pause(ALONE_MS)
  for (const node of others) node.kill('all')
  const tail = old.sql(SHORT_TAIL).catch(() => undefined)
  await pause(ALONE_MS)
  old.kill('all')
  await tail
  for (const node of others) node.start()
  await acknowledged(clients, performance.now())
  return await onlyWitness(on, clients, old)
}

/**
 * Who holds the newest writes has asked for a stream that never came; another one knows less. Both
 * are recruited.
 */
export async function followerWithoutItsStream(on: Site, clients: Workload): Promise<void> {
  const leader = await on.whole()
  // Among equals the first by id is chosen.
  const [late, holder] = on.nodes.filter((node) => node !== leader)
  await leader.sql(NEW_SEGMENT)
  await pause(ALONE_MS)
  late?.kill('all')
  await pause(ALONE_MS)
  leader.kill('all')
  holder?.kill('postgres')
  late?.start()
  await acknowledged(clients, performance.now())
}

/**
 * An appointed leader dies before its rule is anywhere else; another one is appointed after it. The
 * first comes back, and is the only one left to acknowledge what the second writes; that dies.
 */
export async function twoOnOneTimeline(on: Site, clients: Workload): Promise<Anomaly[]> {
  const old = await on.whole()
  const others = on.nodes.filter((node) => node !== old)
  old.kill('all')
  const first = await until(() => promoted(others), AGAIN_MS_MAX)
  const other = others.find((node) => node !== first)
  other?.kill('all')
  await until(() => isPrimary(first), AGAIN_MS_MAX)
  await pause(ALONE_MS)
  first.kill('all')
  old.start()
  other?.start()
  await acknowledged(clients, performance.now())
  return await onlyWitness(on, clients, first)
}

/** `back` follows whoever leads, the third one is dead, and then the leader dies. */
async function onlyWitness(on: Site, clients: Workload, back: SiteNode): Promise<Anomaly[]> {
  const leader = on.node((await until(() => on.serving(), AGAIN_MS_MAX)).id)
  const third = on.nodes.find((node) => node !== leader && node !== back)
  await pause(ALONE_MS)
  back.start()
  try {
    await until(() => isFollowedBy(leader, back), AGAIN_MS_MAX)
    third?.kill('all')
    await pause(ALONE_MS)
    leader.kill('all')
    third?.start()
    await acknowledged(clients, performance.now())
    return []
  } catch (error) {
    return [{ what: 'nobody can lead any more', detail: String(error) }]
  }
}

/** The one that is being promoted. */
async function promoted(nodes: readonly SiteNode[]): Promise<SiteNode | undefined> {
  for (const node of nodes) {
    const { action } = await node.status()
    if (action?.name === 'promote') return node
  }
  return undefined
}

async function isPrimary(node: SiteNode): Promise<boolean> {
  const [row] = await node.sql('select pg_is_in_recovery() as standby')
  return row?.['standby'] === false
}

async function isFollowedBy(leader: SiteNode, follower: SiteNode): Promise<boolean> {
  const rows = await leader.sql(
    `select 1 from pg_stat_replication
     where application_name = '${follower.id}' and state = 'streaming'`,
  )
  return rows.length > 0
}

/** A write that is sent from then on is acknowledged. */
export async function acknowledged(clients: Workload, fromMs: number): Promise<void> {
  await until(
    () =>
      clients.history.some((done) => {
        return done.kind === 'write' && done.outcome === 'ok' && done.invokedMs >= fromMs
      }),
    { deadlineMs: AGAIN_MS_MAX, what: 'a write is acknowledged' },
  )
}
