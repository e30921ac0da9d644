// One shard's story as one orchestrator knows it: what it does itself is told by its actions, and
// what happens is noticed from one snapshot to the next. Noticing decides nothing.
import { possiblyUndecided } from '../../shared/consensus/position.ts'
import { formatNumber } from '../../shared/consensus/rule.ts'
import { numberFromWire } from '../../shared/consensus/wire.ts'
import type { EventDetails, EventKind } from '../../shared/events/cluster-event.ts'
import { now, wallTimeMs } from '../../shared/time/clock.ts'
import type { Problem } from '../analyze/problem.ts'
import { isFresh, newestPosition, type ShardSnapshot } from '../analyze/snapshot.ts'
import type { FlapGuard, Stopped } from '../flap-guard.ts'
import type { EventJournal, EventPlace } from './journal.ts'
import { MemberStory } from './member-story.ts'
import { ProblemStory } from './problem-story.ts'

/** A crash told before this orchestrator knew its member is news only while it is young. */
const CRASH_NEWS_MS = 30_000

/** What a story is told into. */
export type ShardStoryOptions = EventPlace & {
  readonly journal: EventJournal
  readonly guard: FlapGuard
}

/** What of an attempt is under way here. */
export type Step = {
  readonly phase: 'recruiting' | 'promoting'
  readonly term: bigint
  readonly candidate: string
}

/** Told by actions, and looks at each snapshot. */
export class ShardStory {
  readonly #options: ShardStoryOptions
  readonly #problems: ProblemStory
  readonly #members: MemberStory
  readonly #crashes = new Map<string, bigint>()
  /** Since nobody serves, by the monotonic and the wall clock. */
  #unled: { readonly atMs: number; readonly unixMs: number } | undefined = ago(0)
  #leads = ''
  #step: Step | undefined
  #stopped = false

  constructor(options: ShardStoryOptions) {
    this.#options = options
    const tell = (kind: EventKind, details: EventDetails): void => this.tell(kind, details)
    this.#problems = new ProblemStory(tell)
    this.#members = new MemberStory(tell)
    this.#remember()
    this.tell('orchestrator.started', { text: 'watches the shard from now on' })
  }

  /** Wall clock, in ms; undefined while a leader serves. */
  get unledSinceUnixMs(): number | undefined {
    return this.#unled?.unixMs
  }

  /** Where an appointment of this orchestrator's stands. */
  get step(): Step | undefined {
    return this.#step
  }

  /** Takes a step of an action. */
  tell(kind: EventKind, details: EventDetails): void {
    const { journal, database, shard } = this.#options
    journal.add({ database, shard }, kind, details)
    this.#step = stepAfter(this.#step, kind, details)
  }

  /** Notices what differs from the last snapshot. */
  observe(snapshot: ShardSnapshot, problems: readonly Problem[]): void {
    this.#noticeCrashes(snapshot)
    this.#noticeLeader(snapshot)
    this.#members.observe(snapshot)
    this.#problems.observe(problems, now())
  }

  /** Failovers were stopped, or go on. */
  noticeStop(stopped: Stopped | undefined): void {
    if ((stopped !== undefined) === this.#stopped) return
    this.#stopped = stopped !== undefined
    if (stopped === undefined) {
      const text = 'leaders are appointed again: the stop was lifted, or its time is over'
      return this.tell('failovers.lifted', { text, seen: true })
    }
    const { cause, failovers, untilMs } = stopped
    const until = untilMs === undefined ? '' : ` or until ${new Date(untilMs).toISOString()}`
    const text =
      `no further leader is appointed after ${failovers} failovers by one cause: ${cause}. ` +
      `Keep it away, then: multigres cluster recovery resume (holds until then${until})`
    this.tell('failovers.stopped', { text, reason: cause, seen: true })
  }

  /** Its own crashes and leaders of before a restart count on. */
  #remember(): void {
    const { journal, guard, database, shard } = this.#options
    for (const event of journal.kept) {
      if (event.database !== database || event.shard !== shard) continue
      const atMs = Number(event.atUnixMs)
      if (event.kind === 'leader.serves') {
        guard.served(event.member, atMs)
        this.#leads = reignOf(event.member, event.rule) // told already, should it still serve
      }
      if (event.kind === 'postgres.crashed') {
        guard.crashed(event.member, event.reason, atMs)
        this.#crashes.set(event.member, event.atUnixMs) // told then, so it was before
      }
    }
  }

  #noticeCrashes({ members }: ShardSnapshot): void {
    for (const { id, status } of members) {
      const { crash = '', crashUnixMs = 0n } = status?.postgres ?? {}
      if (crash === '' || crashUnixMs <= (this.#crashes.get(id) ?? 0n)) continue
      const known = this.#crashes.has(id)
      this.#crashes.set(id, crashUnixMs)
      const atMs = wallTimeMs()
      if (!known && atMs - Number(crashUnixMs) > CRASH_NEWS_MS) continue
      this.#options.guard.crashed(id, crash, atMs)
      const text = `the Postgres of ${id} went down: ${crash}`
      this.tell('postgres.crashed', { text, member: id, reason: crash, seen: true })
    }
  }

  /** Who led and is not heard any more has been silent since its last word. */
  #silenceMs({ members }: ShardSnapshot): number {
    const leader = members.find(({ id }) => id === this.#leads.split(' ')[0])
    const silent = leader !== undefined && !isFresh(leader) && Number.isFinite(leader.ageMs)
    return silent ? leader.ageMs : 0
  }

  #noticeLeader(snapshot: ShardSnapshot): void {
    const serving = servingLeader(snapshot)
    if (serving === undefined) {
      // A look that hears nobody is no loss: the problem that follows tells what is wrong.
      if (snapshot.members.some(isFresh)) this.#unled ??= ago(this.#silenceMs(snapshot))
      return
    }
    const { leader, rule } = serving
    const reign = reignOf(leader, rule)
    const unled = this.#unled
    this.#unled = undefined
    if (reign === this.#leads) return
    const before = this.#leads.split(' ')[0] ?? ''
    this.#leads = reign
    const tookMs = unled && now() - unled.atMs
    const again = before === leader ? ' again' : ''
    const after = before === '' || before === leader ? '' : ` in place of ${before}`
    const took =
      tookMs === undefined || before === '' ? '' : `; nobody did for ${Math.round(tookMs)} ms`
    this.tell('leader.serves', {
      text: `${leader} serves${again} as leader by rule ${rule}${after}${took}`,
      member: leader,
      rule,
      seen: true,
      ...(took === '' || tookMs === undefined ? {} : { tookMs }),
    })
    this.#options.guard.served(leader, wallTimeMs())
  }
}

/** What a leader changes about its rule within its term is no other reign. */
const reignOf = (leader: string, rule: string): string => `${leader} ${rule.split('.')[0]}`

const ago = (ms: number) => ({ atMs: now() - ms, unixMs: Math.round(wallTimeMs() - ms) })

function stepAfter(
  step: Step | undefined,
  kind: EventKind,
  { term = 0n, member = '' }: EventDetails,
): Step | undefined {
  if (kind === 'appointment.began') return { phase: 'recruiting', term, candidate: '' }
  if (kind === 'appointment.promoting') return { phase: 'promoting', term, candidate: member }
  return kind === 'appointment.decided' || kind === 'appointment.failed' ? undefined : step
}

/** Who leads by the newest rule and answers clients, by its own word of this moment. */
function servingLeader(snapshot: ShardSnapshot): { leader: string; rule: string } | undefined {
  const position = newestPosition(snapshot)
  if (position === undefined) return undefined
  const newest = possiblyUndecided(position)
  for (const member of snapshot.members) {
    if (member.id !== newest.leaderId || !isFresh(member)) continue
    const { serving, position: own } = member.status
    const decided = numberFromWire(own?.decision?.number)
    if (serving?.serving !== true || serving.role !== 'leader') continue
    return { leader: member.id, rule: formatNumber(decided) }
  }
  return undefined
}
