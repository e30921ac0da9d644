// One member of a shard as its pooler knows it: what was last seen of its Postgres, what it
// promised, whom it proved itself a prefix of. Actions (one a file) change it under `lock`;
// everybody else only looks. Invariant: `serving` is recomputed from all of it after every change,
// never set by hand.
import postgres from 'postgres'
import { PgError } from '../../shared/errors/pg-error.ts'
import {
  NO_REVOCATION,
  type RecruitView,
  type TermRevocation,
} from '../../shared/consensus/revocation.ts'
import type { Rule } from '../../shared/consensus/rule.ts'
import type { Position } from '../../shared/consensus/position.ts'
import type { Logger } from '../../shared/log/logger.ts'
import type { ScramSecret } from '../../shared/scram/client.ts'
import { now, timer, withDeadline } from '../../shared/time/clock.ts'
import { State, type StatusReply as PgStatus } from '../../proto/gen/pgctld.ts'
import { streamName } from '../replication/stream-name.ts'
import { readView, type ReplicationView } from '../replication/view.ts'
import { ActionLock } from './action-lock.ts'
import type { GivenGrant } from './grants.ts'
import type { Lease } from './lease.ts'
import { Opening } from './opening.ts'
import { hasData, type Pgctld, postmasterOf } from './pgctld-client.ts'
import type { PromiseFile } from './promise-file.ts'
import { Repairs } from './repairs.ts'
import { readStanding, type Standing } from './rule-store.ts'
import type { ServingStateCell } from './serving-state.ts'
import { servingStateOf } from './standing.ts'
import { SystemSession } from './system-session.ts'

/** Who this is. */
export type MemberIdentity = {
  readonly id: string
  readonly cell: string
  readonly database: string
  readonly shard: string
  readonly stateDir: string
}

/** What was last seen of the Postgres. Parts that could not be read are undefined. */
export type Seen = {
  /** As pgctld last told. */
  readonly pg: PgStatus | undefined
  /** Why pgctld did not answer this time; empty when it did. */
  readonly pgctldError: string
  readonly standing: Standing | undefined
  readonly view: ReplicationView | undefined
  /** Why our own session got no answer; empty when it did or was not tried. */
  readonly sqlError: string
}

/** Whom this node follows, proven a prefix of it by this process. */
export type Proven = { readonly leaderId: string; readonly host: string; readonly port: number }

/** Sessions of a Postgres whose postmaster is stopped may still work: they have this long. */
const FROZEN_MS = 1000

const UNSEEN: Seen = {
  pg: undefined,
  pgctldError: 'not asked yet',
  standing: undefined,
  view: undefined,
  sqlError: '',
}

/** See the head of this file. */
export class Member implements AsyncDisposable {
  readonly identity: MemberIdentity
  readonly log: Logger
  readonly pgctld: Pgctld
  readonly serving: ServingStateCell
  readonly replicationSecret: () => Promise<ScramSecret | undefined>
  readonly lock = new ActionLock()
  /** Undefined: none was made yet, or it is missing beside data, or unreadable. */
  promises: PromiseFile | undefined
  /** Undefined until the topology, or the file that remembers it, was read. */
  clusterId: string | undefined
  seen: Seen = UNSEEN
  /** The last position read, of whatever age. */
  position: Position | undefined
  proven: Proven | undefined
  /** Why this WAL is no prefix of its leader's; empty when it is, or was not compared. */
  diverged = ''
  /** The same, where its data is sound and only went on past a fork: a rewind may mend that. */
  forked = ''
  foreign = false
  /** An appointment under way: its rule, before it is in the WAL. */
  appointing: Rule | undefined
  /** A recruitment under way: nothing is granted any more that it would revoke. */
  recruiting: TermRevocation | undefined
  /** Until then whoever had it resign is given time to appoint another. */
  handsOverUntilMs = 0
  /** When this process began: what was granted before is not remembered. */
  readonly startedMs = now()
  /** The last grant that this process gave. */
  given: GivenGrant | undefined
  readonly lease: Lease
  readonly opening = new Opening()
  readonly repairs = new Repairs()
  #fence = ''
  #confirmed = '' // the postmaster whose leadership is known to hold
  #followed = '' // the postmaster, a standby, that was last proven a prefix of a leader
  #session: { readonly key: string; readonly session: SystemSession } | undefined
  #ending: Promise<void> = Promise.resolve()
  #looking: Promise<Seen> | undefined
  #opens: Disposable | undefined
  #opened = 0n
  readonly #listeners = new Set<() => void>()
  #sequence = 0n
  #told = ''

  constructor(options: {
    identity: MemberIdentity
    log: Logger
    pgctld: Pgctld
    serving: ServingStateCell
    lease: Lease
    replicationSecret: () => Promise<ScramSecret | undefined>
  }) {
    this.identity = options.identity
    this.log = options.log
    this.pgctld = options.pgctld
    this.serving = options.serving
    this.lease = options.lease
    this.replicationSecret = options.replicationSecret
  }

  /** Grows with every change that orch acts on. */
  get sequence(): bigint {
    return this.#sequence
  }

  /** Calls back when something that orch should know at once has changed. */
  onChange(callback: () => void): Disposable {
    const mine = (): void => callback()
    this.#listeners.add(mine)
    return { [Symbol.dispose]: () => void this.#listeners.delete(mine) }
  }

  /** Whether data is known to be there. */
  get hasData(): boolean {
    return hasData(this.seen.pg)
  }

  /** Under which it streams, by the rule that it knows. */
  get streamName(): string {
    return this.streamNameBy(this.position?.decision)
  }

  /** Under which it streams, by `decision`. */
  streamNameBy(decision: Rule | undefined): string {
    const incarnation = this.promises?.state.incarnation ?? ''
    return streamName({ id: this.identity.id, incarnation }, decision)
  }

  /** What Recruit is judged by. */
  get recruitView(): RecruitView {
    return {
      position: this.seen.standing?.position,
      revocation: this.promises?.state.revocation ?? NO_REVOCATION,
      blocked: this.blocked,
    }
  }

  /** Why this node may not be recruited, whatever is asked; undefined when it may. */
  get blocked(): string | undefined {
    if (this.promises === undefined) return 'its promise file is missing: it must be added anew'
    if (this.foreign) return 'its data belongs to another system'
    if (this.repairs.quarantined !== '') return `quarantined: ${this.repairs.quarantined}`
    if (this.promises.state.recruitBlockedUntil === undefined) return undefined
    return 'it has not regained the WAL that it may have lost'
  }

  /**
   * Sessions with the Postgres last seen. @throws PgError cannot_connect_now when there is none.
   */
  get session(): SystemSession {
    if (this.#session !== undefined) return this.#session.session
    throw new PgError('cannot_connect_now', 'the Postgres of this pooler does not run')
  }

  /** Stops serving at once, for as long as `reason` stands; '' ends it. */
  set fence(reason: string) {
    this.#fence = reason
    this.publish()
  }

  /** This very Postgres leads: we promoted it, or its quorum streams from it. */
  confirm(): void {
    this.#confirmed = postmasterOf(this.seen.pg)
    this.publish()
  }

  /** Nobody reads here as from a follower any more, until it was proven to follow again. */
  endReads(): void {
    this.proven = undefined
    this.#followed = ''
    this.publish()
  }

  get confirmed(): boolean {
    return this.#confirmed !== '' && this.#confirmed === postmasterOf(this.seen.pg)
  }

  /** Looks at pgctld and Postgres now. Looks asked for at once share one. Never rejects. */
  observe(): Promise<Seen> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  /** A look that began after this call, and so sees what the caller just did. */
  async observeAnew(): Promise<Seen> {
    await this.#looking
    return this.observe()
  }

  async #look(): Promise<Seen> {
    const before = this.seen
    let pg = before.pg
    let pgctldError = ''
    try {
      pg = await this.pgctld.status()
    } catch (error) {
      pgctldError = messageOf(error)
    }
    const sql = await this.#ask(pg)
    this.seen = { pg, pgctldError, ...sql }
    if (sql.standing !== undefined) {
      this.position = { ...sql.standing.position, timeline: sql.view?.timeline ?? 0 }
    }
    this.publish()
    return this.seen
  }

  /**
   * Without pgctld the Postgres last known is asked all the same: its death alone changes nothing.
   */
  async #ask(pg: PgStatus | undefined): Promise<Pick<Seen, 'standing' | 'view' | 'sqlError'>> {
    const none = { standing: undefined, view: undefined, sqlError: '' }
    if (pg === undefined || pg.pid === 0) {
      this.#dropSession()
      return none
    }
    const session = this.#sessionWith(pg)
    try {
      const reading = Promise.all([readStanding(session, this.identity.shard), readView(session)])
      const [standing, view] =
        pg.state === State.FROZEN
          ? await withDeadline(reading, FROZEN_MS, 'a Postgres that is stopped by a signal')
          : await reading
      if (standing !== undefined) return { standing, view, sqlError: '' }
      return { ...none, view, sqlError: 'it holds no rule for this shard' }
    } catch (error) {
      // Slow is not dead: what was known of this very postmaster stands, or one stall of the
      // machine would take the leader out of service. Frozen is: pgctld saw it, and our own
      // session waited in vain.
      const slow = isTimeout(error) && pg.state !== State.FROZEN
      const { standing, view } = slow ? this.#knownOf(pg) : none
      return { standing, view, sqlError: messageOf(error) }
    }
  }

  #knownOf(pg: PgStatus): Pick<Seen, 'standing' | 'view'> {
    const { standing, view } = this.seen
    const same = postmasterOf(this.seen.pg) === postmasterOf(pg)
    return same ? { standing, view } : { standing: undefined, view: undefined }
  }

  #sessionWith(pg: PgStatus): SystemSession {
    const key = `${pg.socketDir}:${pg.port}:${postmasterOf(pg)}`
    if (this.#session?.key !== key) {
      this.#dropSession()
      const { socketDir, port } = pg
      const session = new SystemSession({ socketDir, port, onClose: () => this.#sessionLost() })
      this.#session = { key, session }
    }
    return this.#session.session
  }

  /** Nobody waits for its end: with a Postgres that died that takes a second. */
  #dropSession(): void {
    const session = this.#session?.session
    this.#session = undefined
    if (session === undefined) return
    this.#ending = session[Symbol.asyncDispose]().catch((error: unknown) => {
      this.log.debug('sessions ended badly', { error: messageOf(error) })
    })
  }

  /** Sessions end when Postgres dies: whoever waits for a change looks at once. */
  #sessionLost(): void {
    for (const listener of this.#listeners) listener()
  }

  /** Recomputes what this node may do, and tells whoever waits if it matters. */
  publish(): void {
    const { standing, view } = this.seen
    const inRecovery = standing?.inRecovery ?? true
    const postmaster = postmasterOf(this.seen.pg)
    if (this.proven !== undefined && standing?.inRecovery === true) this.#followed = postmaster
    const behind = view === undefined ? 0n : view.receivedLsn - view.replayedLsn
    this.serving.set(
      servingStateOf({
        id: this.identity.id,
        incarnation: this.promises?.state.incarnation ?? '',
        revocation: this.promises?.state.revocation ?? NO_REVOCATION,
        position: this.position,
        accepting: standing !== undefined,
        inRecovery,
        fence: this.#fence,
        confirmed: this.confirmed,
        opensInMs: this.#opensInMs(),
        leaseHolds: this.lease.holds(),
        diverged: this.diverged,
        followed: this.#followed !== '' && this.#followed === postmaster,
        lagBytes: inRecovery && behind > 0n ? Number(behind) : 0,
      }),
    )
    if (this.serving.current.serving) void this.#rememberOpen()
    const signature = this.#signature()
    if (signature === this.#told) return
    this.#told = signature
    this.#sequence += 1n
    for (const listener of this.#listeners) listener()
  }

  /** The last term in which it answered clients as leader; 0n for none. */
  get openedTerm(): bigint {
    const opened = this.promises?.state.opened ?? 0n
    return opened > this.#opened ? opened : this.#opened
  }

  /** Until the lease of its predecessor has run out; remembered once it has. */
  #opensInMs(): number {
    const { position, promises } = this
    if (position?.decision.leaderId !== this.identity.id || promises === undefined) return 0
    const { decision } = position
    const remainingMs = this.opening.remainingMs(decision, this.openedTerm)
    this.#opens?.[Symbol.dispose]()
    this.#opens =
      remainingMs > 0 ? timer(remainingMs, () => this.publish(), { ref: false }) : undefined
    return remainingMs
  }

  /** It answers clients: one that restarts in this term need not wait again. */
  async #rememberOpen(): Promise<void> {
    const { position, promises } = this
    const opened = position?.decision.number.coordinatorTerm
    if (promises === undefined || opened === undefined || this.#opened === opened) return
    this.#opened = opened
    await promises.update({ opened }).catch((error: unknown) => {
      this.log.warn('not remembered that this leader is open', { error: messageOf(error) })
    })
  }

  /** What orch acts on; LSNs and times of their own accord are not worth a message. */
  #signature(): string {
    const { pg, pgctldError, standing, view } = this.seen
    const { decision, proposal } = this.position ?? {}
    return JSON.stringify(
      [
        this.serving.current.role,
        this.serving.current.serving,
        this.serving.current.reason,
        [pg?.state, pg?.pid, pg?.accepting, pg?.message, pgctldError],
        [standing?.inRecovery, decision?.number, proposal?.number],
        [view?.receiver, view?.primary, view?.followers.map(({ id, state }) => [id, state])],
        this.promises?.state,
        [this.diverged, this.foreign, this.repairs.quarantined],
        [this.lock.current?.name, this.lock.lastError],
      ],
      (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value),
    )
  }

  /** How long the present action runs, in ms; 0 without one. */
  get actionMs(): number {
    const { current } = this.lock
    return current === undefined ? 0 : Math.round(now() - current.sinceMs)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#opens?.[Symbol.dispose]()
    await this.#looking
    this.#dropSession()
    await this.#ending
    await this.promises?.[Symbol.asyncDispose]()
    this.pgctld[Symbol.dispose]()
  }
}

function isTimeout(error: unknown): boolean {
  const root = error instanceof Error && error.cause instanceof Error ? error.cause : error
  if (root instanceof PgError) return root.condition === 'query_canceled'
  return root instanceof postgres.PostgresError && root.code === '57014'
}

/** An error's own text; drizzle puts the database's words into the cause. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : ''
  return error.message.startsWith('Failed query') ? `a query failed${cause}` : error.message + cause
}
