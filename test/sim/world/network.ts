// Messages between machines: late, lost, cut off, and overtaking each other.
import type { Machine, Process, World } from './world.ts'

/** How bad it is at the moment. */
export type Weather = { lost: number; late: number }

const USUAL_MS = 1
const LATE_MS = 600
const RETRANSMIT_MS = 200

/** Between all machines of a world. */
export class Network {
  readonly weather: Weather = { lost: 0, late: 0.01 }
  readonly #world: World
  readonly #cut = new Set<string>()

  constructor(world: World) {
    this.#world = world
  }

  /** No message from `from` arrives at `to`. */
  cut(from: string, to: string): void {
    this.#cut.add(`${from} ${to}`)
  }

  heal(): void {
    this.#cut.clear()
  }

  /** Whether a message would get there now. */
  passes(from: Machine, to: Machine): boolean {
    if (from === to) return to.up
    return from.up && to.up && !this.#cut.has(`${from.id} ${to.id}`)
  }

  /**
   * Runs `arrive` at the machine `to`, as an event of nobody: who is there to take it shows then.
   */
  send(from: Machine, to: Machine, arrive: () => void): void {
    const { random } = this.#world
    if (!this.passes(from, to) || (from !== to && random.chance(this.weather.lost))) return
    const late = from !== to && random.chance(this.weather.late)
    const delay = (late ? LATE_MS : USUAL_MS) * random.next() + 0.05
    this.#world.after(delay, undefined, () => {
      if (this.passes(from, to)) arrive()
    })
  }

  /** As TCP does: what is lost is sent again, until it arrives or nobody sends any more. */
  reliably(from: Machine, to: Machine, arrive: () => void, wanted: () => boolean): void {
    const { random } = this.#world
    const lost = !this.passes(from, to) || (from !== to && random.chance(this.weather.lost))
    if (!lost) return this.#deliver(from, to, arrive, wanted)
    this.#world.after(RETRANSMIT_MS, undefined, () => {
      if (wanted()) this.reliably(from, to, arrive, wanted)
    })
  }

  #deliver(from: Machine, to: Machine, arrive: () => void, wanted: () => boolean): void {
    const { random } = this.#world
    const late = from !== to && random.chance(this.weather.late)
    this.#world.after((late ? LATE_MS : USUAL_MS) * random.next() + 0.05, undefined, () => {
      if (this.passes(from, to)) arrive()
      else this.reliably(from, to, arrive, wanted)
    })
  }

  /** As `send`, for one process there: lost when it is gone. */
  sendTo(from: Machine, to: Process, arrive: () => void): void {
    this.send(from, to.machine, () => {
      this.#world.after(0, to, arrive)
    })
  }
}
