// One shard's recovery: snapshot, analysis, actions, again and again. Shards never wait for each
// other. Invariants: at most one action on the whole shard at a time, and then none on its members;
// at most one on each member; every action re-checks and compares-and-sets what it was decided by.
import type { Rule } from '../shared/consensus/rule.ts'
import { PgError } from '../shared/errors/pg-error.ts'
import type { EventKind } from '../shared/events/cluster-event.ts'
import type { Logger } from '../shared/log/logger.ts'
import { now, sleep, timer } from '../shared/time/clock.ts'
import { appoint } from './act/appoint.ts'
import { changeRule } from './act/change-rule.ts'
import { clone } from './act/clone.ts'
import { follow } from './act/follow.ts'
import { decideClaim, initialize } from './act/initialize.ts'
import type { ShardContext } from './act/shard-context.ts'
import { override, type OverrideOrder } from './act/override.ts'
import { switchover, type Switched, type SwitchoverOrder } from './act/switchover.ts'
import { analyze, measured } from './analyze/analyze.ts'
import type { Action, Problem } from './analyze/problem.ts'
import type { Patience } from './analyze/snapshot.ts'
import { type Attempt, Attempts } from './attempts.ts'
import { ConditionTimers } from './condition-timers.ts'
import type { ShardStory } from './events/shard-story.ts'
import type { RecoveryGate, Refusal } from './recovery/recovery-gate.ts'

const CYCLE_MS_MAX = 100
/** In good order nothing is waited for: only the ages of statuses have to be seen. */
const CALM_CYCLE_MS_MAX = 250
const CYCLE_MS_MIN = 10
/** Orchestrators begin one after the other, so that they do not recruit each other's members. */
const STAGGER_MS = 150
const SHARD_KEY = 'shard'
/** For transactions of a leader that hands over of its own accord. */
const HAND_OVER_DRAIN_MS = 500
const TRIGGER_POLL_MS = 100

/** What an engine stands on. */
export type ShardEngineOptions = {
  readonly context: ShardContext
  readonly patience: () => Patience
  /** This orchestrator's place among those alive, from 0. */
  readonly rank: () => number
  readonly log: Logger
  /** Undefined: nobody listens. */
  readonly story?: ShardStory
  /** Undefined: it may always act. */
  readonly gate?: RecoveryGate
}

/** A problem with what is being done about it, and what keeps that from being done. */
export type TrackedProblem = Problem & {
  readonly attempt: Attempt | undefined
  readonly refused: Refusal | undefined
}

/** Runs from its construction until disposed. */
export class ShardEngine implements AsyncDisposable {
  readonly context: ShardContext
  readonly #options: ShardEngineOptions
  readonly #timers = new ConditionTimers()
  readonly #attempts = new Attempts()
  readonly #due = new ConditionTimers()
  readonly #ending = new AbortController()
  readonly #running: Promise<void>
  #wake = Promise.withResolvers<void>()
  #problems: readonly Problem[] = []
  #told = ''
  /** Why each action that runs was begun. */
  readonly #doing = new Map<string, string>()
  #done: (what: string) => void = () => undefined
  #refused = ''

  constructor(options: ShardEngineOptions) {
    this.context = options.context
    this.#options = options
    this.#running = this.#run()
  }

  /** Looks again soon: something is known that was not. */
  wake(): void {
    this.#wake.resolve()
  }

  /** The findings of the last cycle. */
  get problems(): readonly TrackedProblem[] {
    return this.#problems.map((problem) => ({
      ...problem,
      attempt: problem.action && this.#attempts.get(keyOf(problem.action)),
      refused: problem.action && this.#options.gate?.refusal(problem.action),
    }))
  }

  /** What is told of this shard; undefined where nobody listens. */
  get story(): ShardStory | undefined {
    return this.#options.story
  }

  /** Whether it may act; undefined where nothing ever keeps it. */
  get gate(): RecoveryGate | undefined {
    return this.#options.gate
  }

  /** What it does at this moment. */
  get running(): string[] {
    return this.#attempts.runningKeys.map((key) => this.#doing.get(key) ?? key)
  }

  /** Attempts at the whole shard's problem since it was last solved. */
  get shardAttempts(): number {
    return this.#attempts.get(SHARD_KEY)?.count ?? 0
  }

  /**
   * Does what is to be done, without waiting for its turn and also while recovery is paused, until
   * nothing is left or `signal` ends it. Resolves to what was done.
   */
  async trigger(signal: AbortSignal): Promise<string[]> {
    using _ = this.#options.gate?.trigger()
    const done: string[] = []
    this.#done = (what) => void done.push(what)
    this.#attempts.forgetWaits()
    try {
      while (!signal.aborted) {
        this.wake()
        await sleep(TRIGGER_POLL_MS, signal).catch(() => undefined) // that long it was tried
        const idle = this.#attempts.runningKeys.length === 0
        const open = this.problems.some(({ action, refused }) => action && refused === undefined)
        if (idle && !open) return done
      }
      return done
    } finally {
      this.#done = () => undefined
    }
  }

  /** Another leader, by plan. @throws PgError, also while something else is done to the shard. */
  async switchover(order: SwitchoverOrder): Promise<Switched> {
    const { paused } = this.#options.gate ?? {}
    if (paused !== undefined) {
      const why = `recovery is paused by ${paused.by} (multigres cluster recovery resume)`
      throw new PgError('object_not_in_prerequisite_state', `no switchover: ${why}`)
    }
    const what = `a switchover to ${order.target ?? 'the furthest follower'}`
    return await this.#alone(what, 'switchover.failed', () => switchover(this.context, order))
  }

  /** A leader by an operator's word; also while recovery is paused. @throws PgError. */
  async override(order: OverrideOrder): Promise<Rule> {
    const what = 'an appointment by certificate'
    return await this.#alone(what, 'appointment.failed', () => override(this.context, order))
  }

  /** What an operator wants done to the whole shard, while nothing else is done to it. */
  async #alone<T>(what: string, failed: EventKind, body: () => Promise<T>): Promise<T> {
    if (this.#attempts.running(SHARD_KEY)) {
      const text = `not begun: ${what}; another action on the shard is under way`
      throw new PgError('object_not_in_prerequisite_state', text)
    }
    this.#attempts.start(SHARD_KEY, 'shard')
    this.#doing.set(SHARD_KEY, what)
    try {
      const result = await body()
      this.#attempts.succeeded(SHARD_KEY, now())
      return result
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      this.#attempts.failed(SHARD_KEY, message, now())
      this.context.tell(failed, { text: message, reason: message })
      throw error
    } finally {
      this.wake()
    }
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { signal } = this.#ending
    while (!signal.aborted) {
      this.#wake = Promise.withResolvers()
      try {
        this.#cycle()
      } catch (error) {
        this.#options.log.error('a cycle failed', { error })
      }
      const calm = this.#problems.length === 0
      using _ = timer(calm ? CALM_CYCLE_MS_MAX : CYCLE_MS_MAX, () => this.#wake.resolve())
      await this.#wake.promise
      await sleep(CYCLE_MS_MIN, signal).catch(() => undefined) // disposed: the loop ends
    }
  }

  #cycle(): void {
    const snapshot = this.context.snapshot()
    const nowMs = now()
    const timers = this.#timers.update(measured(snapshot), nowMs)
    this.#problems = analyze(snapshot, timers, this.#options.patience())
    this.#tell()
    const { story, gate } = this.#options
    story?.observe(snapshot, this.#problems)
    story?.noticeStop(gate?.stopped)
    const actions = this.#allowed()
    const dueMs = this.#due.update(
      actions.map(({ kind }) => kind),
      nowMs,
    )
    for (const action of actions) {
      const staggerMs = gate?.triggered === true ? 0 : this.#options.rank() * STAGGER_MS
      if ((dueMs.get(action.kind) ?? 0) < staggerMs) continue
      if (this.#mayStart(action, nowMs)) void this.#perform(action)
    }
  }

  /** The actions that nothing keeps from being done; of the others it says what they would be. */
  #allowed(): Action[] {
    const { gate } = this.#options
    const allowed: Action[] = []
    let refused = ''
    for (const { action, description } of this.#problems) {
      const refusal = action && gate?.refusal(action)
      if (action === undefined) continue
      if (refusal === undefined) allowed.push(action)
      else if (refusal.kind === 'paused') refused += `${this.#describe(action)}: ${description}; `
    }
    if (refused !== '' && refused !== this.#refused) {
      const text = `recovery is paused; otherwise it would ${refused.replace(/; $/, '')}`
      this.context.tell('recovery.would_act', { text })
    }
    this.#refused = refused
    return allowed
  }

  /** For people: what an action does. */
  #describe(action: Action): string {
    switch (action.kind) {
      case 'initialize':
        return `initialise the shard on ${action.first}`
      case 'decide claim':
        return 'note that the shard is initialised'
      case 'appoint':
        return 'appoint a leader'
      case 'clone':
        return `have ${action.member} copied from ${action.source}`
      case 'follow':
        return `point ${action.member} at ${action.source}`
      case 'change rule':
        return `have ${action.rule.leaderId} change its rule: ${action.reason}`
      case 'switchover':
        return `have ${action.from} hand over to ${action.member}`
    }
  }

  #mayStart(action: Action, nowMs: number): boolean {
    if (this.#attempts.running(SHARD_KEY)) return false
    return this.#attempts.mayStart(keyOf(action), nowMs)
  }

  /** Never rejects. */
  async #perform(action: Action): Promise<void> {
    const key = keyOf(action)
    this.#attempts.start(key, key === SHARD_KEY ? 'shard' : 'member')
    const what = this.#describe(action)
    this.#doing.set(key, what)
    const began = this.#begin(action, what)
    try {
      await perform(this.context, action)
      this.#attempts.succeeded(key, now())
      this.#done(what)
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      this.#attempts.failed(key, message, now())
      this.#options.log.warn(`${action.kind} failed`, { key, error: message })
      this.#done(`${what}: ${message}`)
      const kind = action.kind === 'appoint' ? 'appointment.failed' : 'action.failed'
      const text = `could not ${what}: ${message}`
      this.context.tell(kind, { ...began, text, reason: message })
    }
    this.wake()
  }

  /** An appointment tells its own steps. */
  #begin(action: Action, what: string): { member?: string } {
    if (action.kind === 'appoint' || action.kind === 'decide claim') return {}
    const member = memberOf(action)
    const problem = this.#problems.find((found) => found.action === action)
    const reason = problem?.description ?? ''
    const text = `decides to ${what}${reason && `: ${reason}`}`
    this.context.tell('action.began', { text, member, reason })
    return { member }
  }

  /** Each change of what is wrong is one line of the log. */
  #tell(): void {
    const problems = this.#problems.map(({ code, description }) => `${code}: ${description}`)
    const told = problems.join('; ')
    if (told === this.#told) return
    this.#told = told
    this.#options.log.info('problems', { problems })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort()
    this.wake()
    await this.#running
  }
}

function memberOf(action: Exclude<Action, { kind: 'appoint' | 'decide claim' }>): string {
  if (action.kind === 'initialize') return action.first
  return action.kind === 'change rule' ? (action.change.add?.id ?? '') : action.member
}

function keyOf(action: Action): string {
  if (action.kind === 'clone' || action.kind === 'follow') return `member ${action.member}`
  if (action.kind === 'change rule') return 'rule'
  return action.kind === 'decide claim' ? 'claim' : SHARD_KEY
}

async function perform(context: ShardContext, action: Action): Promise<void> {
  switch (action.kind) {
    case 'initialize':
      return initialize(context, action)
    case 'decide claim':
      return decideClaim(context, action.claim)
    case 'appoint':
      return appoint(context, action)
    case 'clone':
      return clone(context, { ...action, decided: action.decided ?? action.rule.number })
    case 'follow':
      await follow(context, { ...action, decided: action.decided ?? action.rule.number })
      return
    case 'change rule':
      await changeRule(context, action)
      return
    case 'switchover':
      await switchover(context, { target: action.member, drainMs: HAND_OVER_DRAIN_MS })
  }
}
