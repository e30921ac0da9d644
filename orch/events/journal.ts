// An orchestrator's events: kept in memory and, where it has a folder, on disk; told to whoever
// follows. Nothing waits for the disk, and a disk that is full or slow costs the file only.
import type { Event } from '../../proto/gen/orch.ts'
import { appendJournal, readJournal } from '../../shared/events/journal-file.ts'
import type { EventDetails, EventKind } from '../../shared/events/cluster-event.ts'
import type { Logger } from '../../shared/log/logger.ts'
import { wallTimeMs } from '../../shared/time/clock.ts'

/** Events in memory: some hundred failovers. */
const KEPT_MAX = 5000
/** Events that a follower has not taken yet; then the oldest are lost to it, and it is told so. */
const FOLLOWER_BACKLOG_MAX = 1000
const TEXT_CHARS_MAX = 2000

/** Where an event belongs. */
export type EventPlace = { readonly database: string; readonly shard: string }

/** Whoever follows: what is new, since it was last taken. */
export class Follower implements Disposable {
  #events: Event[] = []
  #lost = 0
  #more = Promise.withResolvers<void>()
  readonly #end: () => void

  constructor(end: (self: Follower) => void) {
    this.#end = () => end(this)
  }

  /** Takes one more. */
  push(event: Event): void {
    this.#events.push(event)
    if (this.#events.length > FOLLOWER_BACKLOG_MAX) {
      this.#events.shift()
      this.#lost += 1
    }
    this.#more.resolve()
  }

  /** What came, once something did. Empty when `signal` ended it. */
  async take(signal: AbortSignal): Promise<{ events: Event[]; lost: number }> {
    const stop = (): void => this.#more.resolve()
    signal.addEventListener('abort', stop, { once: true })
    if (!signal.aborted && this.#events.length === 0) await this.#more.promise
    signal.removeEventListener('abort', stop)
    const taken = { events: this.#events, lost: this.#lost }
    this.#events = []
    this.#lost = 0
    this.#more = Promise.withResolvers()
    return taken
  }

  [Symbol.dispose](): void {
    this.#end()
  }
}

/** All events of one orchestrator. */
export class EventJournal implements AsyncDisposable {
  readonly #orchId: string
  readonly #stateDir: string | undefined
  readonly #log: Logger
  readonly #kept: Event[]
  readonly #followers = new Set<Follower>()
  #seq: bigint
  #unsaved: Event[] = []
  #saving: Promise<void> | undefined
  #failing = false

  constructor(options: { orchId: string; stateDir: string | undefined; log: Logger }) {
    const { orchId, stateDir, log } = options
    this.#orchId = orchId
    this.#stateDir = stateDir
    this.#log = log
    const found = stateDir === undefined ? [] : readJournal(stateDir)
    this.#kept = found.filter(({ by }) => by === orchId).slice(-KEPT_MAX)
    this.#seq = this.#kept.at(-1)?.seq ?? 0n
  }

  /** Oldest first. */
  get kept(): readonly Event[] {
    return this.#kept
  }

  /** Never throws, never waits. */
  add(place: EventPlace, kind: EventKind, details: EventDetails): Event {
    const { text, member = '', rule = '', term = 0n, reason = '', tookMs, seen = false } = details
    this.#seq += 1n
    const event: Event = {
      ...place,
      seq: this.#seq,
      atUnixMs: BigInt(Math.round(wallTimeMs())),
      by: this.#orchId,
      kind,
      seen,
      member,
      rule,
      term,
      reason: reason.slice(0, TEXT_CHARS_MAX),
      tookMs: tookMs === undefined ? undefined : Math.max(0, Math.round(tookMs)),
      text: text.slice(0, TEXT_CHARS_MAX),
    }
    this.#kept.push(event)
    if (this.#kept.length > KEPT_MAX) this.#kept.shift()
    for (const follower of this.#followers) follower.push(event)
    if (this.#stateDir === undefined) return event
    if (this.#unsaved.length >= KEPT_MAX) this.#unsaved.shift()
    this.#unsaved.push(event)
    this.#saving ??= this.#save(this.#stateDir)
    return event
  }

  /** From now on, until disposed. */
  follow(): Follower {
    const follower = new Follower((self) => void this.#followers.delete(self))
    this.#followers.add(follower)
    return follower
  }

  /** Never rejects. Failed: the next event tries again with all that is missing. */
  async #save(stateDir: string): Promise<void> {
    await Promise.resolve() // what one moment brings is written at once
    while (this.#unsaved.length > 0) {
      const batch = this.#unsaved
      this.#unsaved = []
      try {
        await appendJournal(stateDir, batch)
        this.#failing = false
      } catch (error) {
        this.#unsaved = [...batch, ...this.#unsaved].slice(-KEPT_MAX)
        if (!this.#failing) this.#log.error('events cannot be written', { dir: stateDir, error })
        this.#failing = true
        break
      }
    }
    this.#saving = undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#saving
  }
}
