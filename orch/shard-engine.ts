// One shard's recovery: snapshot, analysis, actions, again and again. Shards never wait for each
// other. Invariants: at most one action on the whole shard at a time, and then none on its members;
// at most one on each member; every action re-checks and compares-and-sets what it was decided by.
import { PgError } from '../shared/errors/pg-error.ts'
import type { Logger } from '../shared/log/logger.ts'
import { now, sleep, timer } from '../shared/time/clock.ts'
import { appoint } from './act/appoint.ts'
import { clone } from './act/clone.ts'
import { follow } from './act/follow.ts'
import { decideClaim, initialize } from './act/initialize.ts'
import type { ShardContext } from './act/shard-context.ts'
import { switchover, type Switched, type SwitchoverOrder } from './act/switchover.ts'
import { analyze, measured } from './analyze/analyze.ts'
import type { Action, Problem } from './analyze/problem.ts'
import type { Patience } from './analyze/snapshot.ts'
import { type Attempt, Attempts } from './attempts.ts'
import { ConditionTimers } from './condition-timers.ts'

const CYCLE_MS_MAX = 100
/** In good order nothing is waited for: only the ages of statuses have to be seen. */
const CALM_CYCLE_MS_MAX = 250
const CYCLE_MS_MIN = 10
/** Orchestrators begin one after the other, so that they do not recruit each other's members. */
const STAGGER_MS = 150
const SHARD_KEY = 'shard'

/** What an engine stands on. */
export type ShardEngineOptions = {
  readonly context: ShardContext
  readonly patience: () => Patience
  /** This orchestrator's place among those alive, from 0. */
  readonly rank: () => number
  readonly log: Logger
}

/** A problem with what is being done about it. */
export type TrackedProblem = Problem & { readonly attempt: Attempt | undefined }

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
    }))
  }

  /** Another leader, by plan. @throws PgError, also while something else is done to the shard. */
  async switchover(order: SwitchoverOrder): Promise<Switched> {
    if (this.#attempts.running(SHARD_KEY)) {
      const text = 'no switchover: another action on the shard is under way'
      throw new PgError('object_not_in_prerequisite_state', text)
    }
    this.#attempts.start(SHARD_KEY, 'shard')
    try {
      const switched = await switchover(this.context, order)
      this.#attempts.succeeded(SHARD_KEY, now())
      return switched
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      this.#attempts.failed(SHARD_KEY, message, now())
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
    const actions = this.#problems.flatMap(({ action }) => action ?? [])
    const dueMs = this.#due.update(
      actions.map(({ kind }) => kind),
      nowMs,
    )
    for (const action of actions) {
      const staggerMs = this.#options.rank() * STAGGER_MS
      if ((dueMs.get(action.kind) ?? 0) < staggerMs) continue
      if (this.#mayStart(action, nowMs)) void this.#perform(action)
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
    try {
      await perform(this.context, action)
      this.#attempts.succeeded(key, now())
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      this.#attempts.failed(key, message, now())
      this.#options.log.warn(`${action.kind} failed`, { key, error: message })
    }
    this.wake()
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

function keyOf(action: Action): string {
  if (action.kind === 'clone' || action.kind === 'follow') return `member ${action.member}`
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
      return clone(context, action)
    case 'follow':
      return follow(context, action)
  }
}
