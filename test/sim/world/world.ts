// The seeded world: one line of time, machines with clocks of their own, processes that may be
// frozen or killed between any two steps. Invariants:
// - Everything that happens is an event of exactly one process, and an event runs with all that
//   follows from it (its microtasks) before the next begins: the same seed gives the same run.
// - Whoever waits for something waits for an event of its own process. So a process that is killed
//   never goes on: its code stands at the await where it was, which is what kill -9 does to it.
import { drainMicrotasks } from 'bun:jsc'
import type { TimeSource } from '../../../shared/time/clock.ts'
import { Random } from '../../support/random.ts'
import { EventQueue, type SimEvent } from './event-queue.ts'

/** A computer: its clocks and what cuts it off. */
export type Machine = {
  readonly id: string
  up: boolean
  /** Milliseconds of its clocks in one of true time. */
  rate: number
  /** Monotonic clocks stand still while it is suspended; the boot clock does not. */
  suspendedMs: number
  wallOffsetMs: number
}

/** One life of one process. */
export class Process {
  readonly name: string
  readonly machine: Machine
  alive = true
  frozen = false
  /** What came while it was frozen. */
  readonly parked: SimEvent[] = []
  readonly onDeath = new Set<() => void>()

  constructor(name: string, machine: Machine) {
    this.name = name
    this.machine = machine
  }
}

/** Thrown to end a run: an invariant does not hold. */
export class Violation extends Error {
  override readonly name = 'Violation'
  readonly rule: string

  constructor(rule: string, message: string) {
    super(`${rule}: ${message}`)
    this.rule = rule
  }
}

const WALL_START = 1_800_000_000_000
const TRACE_MAX = 4000
/** No run comes near it: one that does runs in a circle. */
const STEPS_MAX = 1_000_000
/** A timer is not shorter, as real ones: what remains of a wait may be less than time can tell. */
const TIMER_MS_MIN = 0.01

/** Everything of one run. */
export class World {
  readonly random: Random
  readonly trace: string[] = []
  tracing = false
  time = 0
  steps = 0
  current: Process | undefined
  violation: Violation | undefined
  /** After every event. */
  check: () => void = () => {}
  /** Deaths at named steps: how often each was hit. */
  readonly crashes = new Map<string, number>()
  /** Asked at every step of a process that touches something outside: whether it dies there. */
  crashAt: (point: string, process: Process) => boolean = () => false
  readonly #queue = new EventQueue()

  constructor(seed: number) {
    this.random = new Random(seed)
  }

  machine(id: string): Machine {
    return { id, up: true, rate: 1, suspendedMs: 0, wallOffsetMs: 0 }
  }

  /** Runs `action` in `delayMs` of true time, as an event of `process` (none: of nobody). */
  after(delayMs: number, process: Process | undefined, action: () => void): SimEvent {
    const event = { at: this.time + delayMs, order: 0, process, action, cancelled: false }
    this.#queue.push(event)
    return event
  }

  /** Runs `action` now as `process`, with what follows from it. For the start of a process. */
  enter(process: Process, action: () => void): void {
    const before = this.current
    this.current = process
    action()
    drainMicrotasks()
    this.current = before
  }

  /** Runs events until `untilMs`, or a violation. */
  run(untilMs: number): void {
    for (;;) {
      const event = this.#queue.pop(untilMs)
      if (event === undefined) break
      this.time = event.at
      if (!event.cancelled) this.#run(event)
      if (this.steps > STEPS_MAX) this.fail('a run ends', `${this.steps} steps`)
      if (this.violation !== undefined) return
    }
    this.time = untilMs
  }

  #run(event: SimEvent): void {
    const { process } = event
    if (process !== undefined) {
      if (!process.alive) return
      if (process.frozen) return void process.parked.push(event)
    }
    this.steps += 1
    this.current = process
    event.action()
    drainMicrotasks()
    this.current = undefined
    this.check()
  }

  /** kill -9. */
  kill(process: Process): void {
    if (!process.alive) return
    process.alive = false
    this.note(`${process.name} dies`)
    for (const last of process.onDeath) last()
    process.onDeath.clear()
  }

  /** SIGSTOP. */
  freeze(process: Process): void {
    process.frozen = true
    this.note(`${process.name} is frozen`)
  }

  /** SIGCONT: what had come meanwhile is seen in any order, timers no earlier than messages. */
  thaw(process: Process): void {
    if (!process.frozen) return
    process.frozen = false
    this.note(`${process.name} goes on`)
    const parked = process.parked.splice(0)
    for (const event of parked) this.after(this.random.next() * 2, process, event.action)
  }

  /**
   * One step of the present process outside itself: `effect` happens, later its result arrives. The
   * process may die before, or between the two.
   */
  step<T>(point: string, effect: () => T, latencyMs = 0.2): Promise<T> {
    const process = this.current
    if (process === undefined) throw new Error(`${point}: a step of nobody`)
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    this.after(latencyMs * this.random.next(), process, () => {
      if (this.dies(`${point}, before`, process)) return
      let settle: () => void
      try {
        const result = effect()
        settle = () => resolve(result)
      } catch (error) {
        settle = () => reject(error)
      }
      this.after(latencyMs * this.random.next(), process, () => {
        if (!this.dies(`${point}, after`, process)) settle()
      })
    })
    return promise
  }

  /** Resolves a promise of `process` by an event of its own. */
  settle(process: Process, action: () => void, delayMs = 0.01): void {
    this.after(delayMs, process, action)
  }

  /** A named step of `process`: true when it dies there. */
  dies(point: string, process: Process): boolean {
    if (!this.crashAt(point, process)) return false
    this.crashes.set(point, (this.crashes.get(point) ?? 0) + 1)
    this.note(`${process.name} dies at: ${point}`)
    this.kill(process)
    return true
  }

  /** Remembers one line of the story. */
  note(text: string): void {
    if (!this.tracing) return
    if (this.trace.length > TRACE_MAX) this.trace.shift()
    this.trace.push(`${this.time.toFixed(2).padStart(9)}  ${text}`)
  }

  fail(rule: string, message: string): void {
    this.violation ??= new Violation(rule, message)
    this.note(`VIOLATION ${rule}: ${message}`)
  }

  /** The clocks as the present process reads them. */
  readonly clock: TimeSource = {
    now: () => this.#local() - (this.current?.machine.suspendedMs ?? 0),
    bootTimeMs: () => this.#local(),
    wallTimeMs: () => WALL_START + this.#local() + (this.current?.machine.wallOffsetMs ?? 0),
    random: () => this.random.next(),
    after: (ms, callback) => {
      const process = this.current
      const rate = process?.machine.rate ?? 1
      const event = this.after(Math.max(ms / rate, TIMER_MS_MIN), process, () => {
        if (process !== undefined && this.dies('a timer', process)) return
        callback()
      })
      return () => void (event.cancelled = true)
    },
  }

  #local(): number {
    return 1000 + this.time * (this.current?.machine.rate ?? 1)
  }
}
