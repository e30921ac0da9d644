import type { Network } from '../world/network.ts'
import type { Process, World } from '../world/world.ts'

const RETRANSMIT_MS = 150

/** One direction of a TCP connection: in order, again until it arrives or an end is gone. */
export class Channel {
  closed = false
  readonly #world: World
  readonly #network: Network
  readonly #from: Process
  readonly #to: Process
  readonly #queue: Array<() => void> = []
  #moving = false

  constructor(world: World, network: Network, from: Process, to: Process) {
    this.#world = world
    this.#network = network
    this.#from = from
    this.#to = to
  }

  send(arrive: () => void): void {
    this.#queue.push(arrive)
    if (!this.#moving) this.#move(0)
  }

  #move(extraMs: number): void {
    this.#moving = true
    const { random } = this.#world
    const late = random.chance(this.#network.weather.late) ? 200 : 0.8
    this.#world.after(extraMs + 0.05 + late * random.next(), undefined, () => this.#arrive())
  }

  #arrive(): void {
    if (this.closed || !this.#to.alive) return
    if (!this.#network.passes(this.#from.machine, this.#to.machine)) {
      return this.#move(RETRANSMIT_MS)
    }
    for (const arrive of this.#queue.splice(0)) {
      this.#world.after(0, this.#to, () => {
        if (!this.closed) arrive()
      })
    }
    this.#moving = false
  }
}
