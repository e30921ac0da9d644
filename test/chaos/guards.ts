// Guards of the whole data plane, each with the edits that take it out and the scene in which it is
// all that stands between clients and a wrong answer. The scenes are played by planted.long.ts; that
// the edits still fit their sources is seen by planted.test.ts.
import type { Edit } from './planted.ts'
import {
  followerAheadOfTheFork,
  followerWithoutItsStream,
  leaderAlone,
  leaderOutOfTheWorld,
  type Scene,
  twoOnOneTimeline,
} from './scenes.ts'

/** What is taken out, and where that shows. */
export type Guard = {
  /** In `CHAOS_SCENES`. */
  key: string
  name: string
  edits: Edit[]
  /** What the scene needs, with the guard and without. */
  setting?: Edit[]
  scene: Scene
  reports: RegExp
}

/** Of a member that took another history for its leader's: one of these is what comes of it. */
const LOST_FOR_GOOD =
  /^(lost write|read and gone again|a member never follows again|nobody can lead any more)$/

/** See the head of this file. */
export const GUARDS: readonly Guard[] = [
  {
    key: 'lease',
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
    key: 'list',
    name: 'the list of synchronous standbys',
    edits: [
      {
        file: 'shared/consensus/standby-names.ts',
        from: "if (policies.every(({ required }) => required === 1)) return ''",
        to: "if (policies.length > 0) return ''",
      },
    ],
    scene: leaderAlone,
    reports: /^(lost write|read and gone again)$/,
  },
  {
    key: 'prefix',
    name: 'the proof of a prefix',
    edits: [
      {
        file: 'pooler/term/follow.ts',
        from: 'const apart = whyNoPrefix(own, leader)',
        to: 'const apart: string | undefined = undefined',
      },
      {
        file: 'pooler/term/follow.ts',
        from: 'again ? await whyNoStream(',
        to: 'false ? await whyNoStream(',
      },
    ],
    scene: followerAheadOfTheFork,
    reports: LOST_FOR_GOOD,
  },
  {
    key: 'lsn',
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
    key: 'timelines',
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
    reports: LOST_FOR_GOOD,
  },
]

/** Keys of `list`, which are separated by commas; all of them without one. @throws Error for others. */
export function chosen(list: string | undefined): ReadonlySet<string> {
  const all = GUARDS.map(({ key }) => key)
  const wanted = list?.split(',').filter((key) => key !== '') ?? []
  const unknown = wanted.filter((key) => !all.includes(key))
  if (unknown.length > 0) throw new Error(`no guards ${unknown.join(', ')}: ${all.join(', ')}`)
  return new Set(wanted.length === 0 ? all : wanted)
}
