// Scenes in which one guard is all that stands between clients and a wrong answer. Who is ahead of
// whom is made, not left to chance: a follower that is to be behind is dead meanwhile, since what
// waits for one that is only frozen in the buffers of its sockets would reach it afterwards.
import { pause } from '../support/pace.ts'
import { until } from '../support/until.ts'
import { type Anomaly, ofKind } from './history.ts'
import type { SiteNode } from './node.ts'
import { OldSide } from './old-side.ts'
import type { Site } from './site.ts'
import type { Workload } from './workload.ts'

const AGAIN_MS_MAX = 60_000
const ASK_MS = 1500
const ALONE_MS = 1500
/** A failover or a copy takes a tenth of it; what has not come by then is not to come. */
const NEVER_MS = 30_000
/** More than a write's way to a client and back takes on a machine with too much to do. */
const ANSWER_MS = 5000
/** More WAL than the writers make meanwhile. */
const TAIL_ROWS = 8000
/** More than the writers make in some seconds, and less than a segment. */
const SHORT_TAIL_ROWS = 4000
const ROW_BYTES = 2000
const NEW_SEGMENT = 'select pg_switch_wal()'

/** What happens; it returns what no history of clients could tell. */
export type Scene = (site: Site, workload: Workload) => Promise<Anomaly[] | void>

/** Its pooler is frozen until another leads; sessions with it ask as soon as it goes on. */
export async function leaderOutOfTheWorld(on: Site, clients: Workload): Promise<void> {
  const leader = await on.whole()
  await using oldSide = new OldSide(on, leader)
  await until(() => oldSide.prepare().then(() => true), AGAIN_MS_MAX)
  leader.freeze('pooler')
  await acknowledged(clients, performance.now() + 200, { key: OldSide.LOG })
  const asking = oldSide.ask()
  await acknowledged(clients, performance.now())
  leader.thaw()
  await pause(ASK_MS)
  clients.history.push(...oldSide.finish())
  await Promise.all(asking)
}

/** Nobody takes its WAL for a while, though poolers are there to grant; then it dies. */
export async function leaderAlone(on: Site, clients: Workload): Promise<void> {
  const leader = await on.whole()
  const others = on.nodes.filter((node) => node !== leader)
  for (const node of others) {
    node.kill('pgctld')
    node.kill('postgres')
  }
  const { ended } = await tailOn(leader, TAIL_ROWS)
  // What is written behind the tail is lost, if anybody is told that it is not.
  await comes(acknowledged(clients, performance.now(), { deadlineMs: ANSWER_MS }))
  await pause(ALONE_MS)
  leader.kill('all')
  await ended
  for (const node of others) node.start()
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
  const { ended } = await tailOn(old, SHORT_TAIL_ROWS)
  old.kill('all')
  await ended
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
  const following = until(() => isFollowedBy(leader, back), NEVER_MS)
  if (!(await comes(following))) {
    return [{ what: 'a member never follows again', detail: `${back.id}, led by ${leader.id}` }]
  }
  third?.kill('all')
  await pause(ALONE_MS)
  leader.kill('all')
  third?.start()
  if (await comes(acknowledged(clients, performance.now(), { deadlineMs: NEVER_MS }))) return []
  return [{ what: 'nobody can lead any more', detail: `${leader.id} did, followed by ${back.id}` }]
}

const comes = (event: Promise<unknown>): Promise<boolean> =>
  event.then(
    () => true,
    () => false,
  )

/** WAL of that many rows on its disk; the statement may wait for standbys until `ended`. */
async function tailOn(node: SiteNode, rows: number): Promise<{ ended: Promise<unknown> }> {
  const fromBytes = await walBytes(node)
  const text = `create table tail as
    select repeat('x', ${ROW_BYTES}) from generate_series(1, ${rows})`
  const ended = node.sql(text).catch(() => undefined)
  const what = 'the tail is written'
  const enough = async (): Promise<boolean> =>
    (await walBytes(node)) - fromBytes >= rows * ROW_BYTES
  await until(enough, { deadlineMs: NEVER_MS, what })
  return { ended }
}

async function walBytes(node: SiteNode): Promise<number> {
  const [row] = await node.sql(`select pg_current_wal_flush_lsn() - '0/0' as bytes`)
  return Number(row?.['bytes'])
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

/** A write, with `key` to that log, that is sent from then on is acknowledged. */
export async function acknowledged(
  clients: Workload,
  fromMs: number,
  { key, deadlineMs = AGAIN_MS_MAX }: { key?: number; deadlineMs?: number } = {},
): Promise<void> {
  await until(
    () =>
      ofKind(clients.history, 'write').some((done) => {
        if (key !== undefined && done.key !== key) return false
        return done.outcome === 'ok' && done.invokedMs >= fromMs
      }),
    { deadlineMs, what: 'a write is acknowledged' },
  )
}
