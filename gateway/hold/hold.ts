// Work that has not started and waits for a leader, or for a follower to read from.
//
// First come, first served; bounded by count, by bytes and by a time from which on the client hears
// 57P03.

import { now, timer } from '../../shared/time/clock.ts'

/** A session with a batch that no backend has seen. */
export interface Held {
  /** Somebody serves: try again. */
  resume(): void
  /** Nobody came in time, or there is no room to wait in. */
  expire(why: string): void
  /** One of the above threw: a bug, which ends the session and nothing else. */
  crashed(error: unknown): void
}

/** How exactly deadlines are kept. */
const CHECK_MS = 50

/** What is waited for: its name, and why it is not there. */
export type Awaited = { readonly name: string; missing(): string }

const LEADER: Awaited = { name: 'a leader', missing: () => 'no leader serves' }

export type HoldLimits = {
  readonly failoverWaitersMax: number
  readonly failoverBytesMax: number
}

type Entry = { held: Held; bytes: number; deadlineMs: number }

export class Hold {
  /** Waiters that ran in time, and those that did not. */
  resumed = 0
  expired = 0
  readonly #limits: HoldLimits
  readonly #awaited: Awaited
  readonly #waiting = new Map<Held, Entry>()
  #bytes = 0
  #checking = false

  constructor(limits: HoldLimits, awaited = LEADER) {
    this.#limits = limits
    this.#awaited = awaited
  }

  get waiting(): number {
    return this.#waiting.size
  }

  get bytes(): number {
    return this.#bytes
  }

  has(held: Held): boolean {
    return this.#waiting.has(held)
  }

  /**
   * Waits until `deadlineMs`. A reason when there is no room for it; `held` is not
   * told then.
   */
  add(held: Held, bytes: number, deadlineMs: number): string | undefined {
    const { failoverWaitersMax, failoverBytesMax } = this.#limits
    const { name } = this.#awaited
    if (this.#waiting.has(held)) return undefined
    if (this.#waiting.size >= failoverWaitersMax) return `too many sessions wait for ${name}`
    if (this.#bytes + bytes > failoverBytesMax) return `too much work waits for ${name}`
    this.#waiting.set(held, { held, bytes, deadlineMs })
    this.#bytes += bytes
    this.#check()
    return undefined
  }

  /** The session is gone, or its work was cancelled. True when it waited. */
  remove(held: Held): boolean {
    const entry = this.#waiting.get(held)
    if (entry === undefined) return false
    this.#waiting.delete(held)
    this.#bytes -= entry.bytes
    return true
  }

  /** Somebody serves: all go on, in the order in which they came. */
  resumeAll(): void {
    if (this.#waiting.size === 0) return
    const entries = [...this.#waiting.values()]
    this.#waiting.clear()
    this.#bytes = 0
    this.resumed += entries.length
    for (const { held } of entries) guard(held, () => held.resume())
  }

  #onTime(): void {
    this.#checking = false
    const time = now()
    for (const { held, deadlineMs } of this.#waiting.values()) {
      if (deadlineMs > time) continue
      this.remove(held)
      this.expired++
      guard(held, () => held.expire(this.#awaited.missing()))
    }
    if (this.#waiting.size > 0) this.#check()
  }

  #check(): void {
    if (this.#checking) return
    this.#checking = true
    timer(CHECK_MS, () => this.#onTime(), { ref: false })
  }
}

function guard(held: Held, tell: () => void): void {
  try {
    tell()
  } catch (error) {
    held.crashed(error)
  }
}
