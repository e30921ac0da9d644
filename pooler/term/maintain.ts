// What a pooler does of its own accord, between the calls of orch: make its promise file while it
// has no data, keep Postgres running as a standby, lift a WAL floor that was regained, see its
// quorum again after a restart of its own, finish a change of its rule. Never a promotion.
import { State } from '../../proto/gen/pgctld.ts'
import { backoff, now } from '../../shared/time/clock.ts'
import { flushedBeyond } from '../replication/view.ts'
import { jointNames } from '../../shared/consensus/rule-change.ts'
import { finishChange, isOwnChange } from './change-rule.ts'
import { Deadline } from './deadline.ts'
import type { Member } from './member.ts'
import { PromiseFile } from './promise-file.ts'
import { holdersSatisfy } from './quorum-wait.ts'
import { streamFrom } from './recruit.ts'
import { isDiskFull } from './repairs.ts'
import { whyNoRoomForData } from './room.ts'
import { type Answering, answering, restartStandby, startStandby } from './run-standby.ts'
import { setStandbyList } from './standby-list.ts'
import { isRegained } from './wal-floor.ts'

const RETRY = { minMs: 200, maxMs: 5000 } as const
const RESTART_BUDGET_MS = 30_000
const REPAIR_BUDGET_MS = 5000

/** What pgctld says of a data directory of its own that cannot be read any more. */
const DAMAGED = /pg_control|a rewind of/
/** What a session hears when a file that it needs is damaged or gone. */
const UNREADABLE = /could not (open|read|access) |invalid page|contains (unexpected|incorrect)/
/** A file may be unreadable for a moment while somebody copies or checks it. */
const MUTE_MS = 5000
const GIVEN_UP = 'its Postgres does not stay up'
/** While it waits for a copy that nobody may be there to give. */
const SLOW_START_MS = 30_000

type Chore = { readonly name: string; readonly body: () => Promise<void> }

/** Does what is due, one thing at a time, when no action is under way. */
export class Maintenance {
  readonly #member: Member
  readonly #retry = backoff(RETRY)
  #notBeforeMs = 0
  #startedMs = 0
  #muteSinceMs: number | undefined

  constructor(member: Member) {
    this.#member = member
  }

  /** After each look. Never rejects: a failure is logged, and tried again later. */
  async run(): Promise<void> {
    const chore = this.#due()
    if (chore === undefined || now() < this.#notBeforeMs) return
    try {
      await this.#member.lock.run(chore.name, 0, chore.body)
      this.#retry.reset()
      this.#member.publish()
    } catch (error) {
      this.#notBeforeMs = now() + this.#retry.next()
      this.#member.log.warn(`${chore.name} failed`, { error })
    }
  }

  #due(): Chore | undefined {
    const member = this.#member
    if (member.lock.current !== undefined || member.lock.contended) return undefined
    const { pg, pgctldError } = member.seen
    if (
      pgctldError === '' &&
      pg?.state === State.NOT_INITIALIZED &&
      member.promises === undefined
    ) {
      return { name: 'make the promise file', body: () => this.#makePromises() }
    }
    if (pgctldError !== '') return this.#dueWhileRunning()
    if (pg?.state === State.STOPPED) return this.#dueWhileDown(pg.message)
    if (pg?.state === State.UNUSABLE && DAMAGED.test(pg.message) && this.#isCopyable()) {
      return this.#giveUp(pg.message)
    }
    return this.#dueWhileRunning()
  }

  #dueWhileDown(message: string): Chore | undefined {
    const member = this.#member
    const gaveUp = member.diverged.startsWith(GIVEN_UP)
    if (gaveUp && now() - this.#startedMs < SLOW_START_MS) return undefined // a copy is to come
    const copyable = !gaveUp && !this.#isFull() && this.#isCopyable()
    const remedy = member.repairs.remedy({ message, copyable })
    if (remedy === 'nothing') return undefined
    if (remedy !== 'start') return this.#giveUp(message)
    const body = async () => {
      if (!this.#isFull()) member.repairs.started() // that says nothing of its data
      this.#startedMs = now()
      await startStandby(member)
    }
    return { name: 'start', body }
  }

  /** Whatever fails meanwhile may fail for that: it is waited out. */
  #isFull(): boolean {
    return whyNoRoomForData(this.#member.seen.pg?.freeBytes) !== ''
  }

  /** It runs, and no session begins, because a file that each needs is damaged. */
  #dueWhileMute(): Chore | undefined {
    const { sqlError } = this.#member.seen
    const full = isDiskFull(sqlError) || this.#isFull()
    const damaged = UNREADABLE.test(sqlError) && !full && this.#isCopyable()
    if (!damaged) this.#muteSinceMs = undefined
    else if (now() - (this.#muteSinceMs ??= now()) >= MUTE_MS) return this.#giveUp(sqlError)
    return undefined
  }

  /** Somebody else may have what this member has: it is not the only one in its cohort. */
  #isCopyable(): boolean {
    const { position, identity, promises } = this.#member
    if (promises === undefined) return false
    return position?.decision.cohort.some(({ id }) => id !== identity.id) ?? true
  }

  /** Said once: orch sees that it has diverged and has it copied, or that it is quarantined. */
  #giveUp(message: string): Chore | undefined {
    const member = this.#member
    const { repairs } = member
    if (member.diverged !== '' || repairs.quarantined !== '') return undefined
    const why = `${GIVEN_UP}: ${message}`
    const body = async () => {
      if (!repairs.mayCopy) repairs.quarantine(why)
      else {
        repairs.gaveUp()
        member.diverged = why
      }
      member.log.error('its data is given up', { why, quarantined: repairs.quarantined !== '' })
    }
    return { name: 'give its data up', body }
  }

  #dueWhileRunning(): Chore | undefined {
    const member = this.#member
    const seen = answering(member.seen)
    if (seen === undefined) return this.#dueWhileMute()
    this.#muteSinceMs = undefined
    member.repairs.answers()
    const body = async () => {
      await restartStandby(member, new Deadline('restart as a standby', RESTART_BUDGET_MS))
    }
    if (seen.standing.inRecovery && seen.view.standbyNames === '') {
      // Not a reload: from empty, a list takes effect only when the checkpointer looks.
      return { name: 'restart with a list of standbys', body }
    }
    if (!seen.standing.inRecovery && member.promises === undefined) {
      // Its promises are gone: it does not know any more whom it may lead.
      return { name: 'demote a primary without promises', body }
    }
    if (this.#regained()) {
      return { name: 'lift the WAL floor', body: () => this.#liftFloor() }
    }
    if (!seen.standing.inRecovery && !member.confirmed && this.#quorumStreams()) {
      return { name: 'confirm the quorum', body: async () => member.confirm() }
    }
    return seen.standing.inRecovery ? this.#dueAsStandby(seen) : this.#dueAsLeader(seen)
  }

  /** A new incarnation has got its seat, or somebody else has taken it. */
  #dueAsStandby({ view }: Answering): Chore | undefined {
    const member = this.#member
    const { primary, streamsAs } = view
    if (primary === undefined || streamsAs === member.streamName) return undefined
    return { name: 'stream under its name', body: () => streamFrom(member, primary) }
  }

  /** Of a leader that its quorum knows. */
  #dueAsLeader({ standing, view }: Answering): Chore | undefined {
    const member = this.#member
    const { decision, proposal } = standing.position
    if (!member.serving.current.serving) return undefined
    if (isOwnChange(member.identity.id, standing.position)) {
      return { name: 'finish a change of the rule', body: () => finishChange(member) }
    }
    if (proposal !== undefined) return undefined
    const names = jointNames([decision])
    if (view.standbyNames === names) return undefined
    const body = () =>
      setStandbyList(member, names, new Deadline('repair of the list', REPAIR_BUDGET_MS))
    return { name: 'repair the list of standbys', body }
  }

  async #makePromises(): Promise<void> {
    const { stateDir, id } = this.#member.identity
    this.#member.promises = await PromiseFile.create(stateDir)
    const { incarnation } = this.#member.promises.state
    this.#member.log.info('a new member', { member: id, incarnation })
  }

  #regained(): boolean {
    const floor = this.#member.promises?.state.recruitBlockedUntil
    return floor !== undefined && isRegained(floor, this.#member.seen)
  }

  /** By a look of its own: the last one may be of data that were replaced since. */
  async #liftFloor(): Promise<void> {
    await this.#member.observeAnew()
    if (!this.#regained()) return
    await this.#member.promises?.update({ recruitBlockedUntil: undefined })
  }

  /**
   * A pooler that finds a primary running may have been away while another was appointed: members
   * that were recruited for that stream from it no more.
   */
  #quorumStreams(): boolean {
    const { seen, identity } = this.#member
    const { standing, view } = seen
    if (standing === undefined || view === undefined) return false
    const { decision, proposal } = standing.position
    if (decision.leaderId !== identity.id) return false
    const streaming = view.followers.filter(({ state }) => state === 'streaming')
    const rules = proposal === undefined ? [decision] : [decision, proposal]
    return holdersSatisfy(rules, [identity.id, ...flushedBeyond(streaming, 1n)])
  }
}
