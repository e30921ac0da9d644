// A client with its gateway: writes and reads, one at a time, at whoever it believes to lead. It
// looks elsewhere when it is refused or hears nothing. It never dies: what it heard stays heard.
import type { Cluster } from './cluster.ts'
import type { Answer, Request } from './pooler.ts'
import { type Machine, Process } from '../world/world.ts'

const PATIENCE_MS = 2500
const PAUSE_MS = 60
const REFUSED_PAUSE_MS = 40

let values = 0

/** Runs from the start of the world to its end. */
export class Client {
  readonly process: Process
  acknowledged = 0
  lastAckAt = 0
  readonly #cluster: Cluster
  #target = ''
  #term = 0n
  #operation = 0

  constructor(cluster: Cluster, machine: Machine) {
    this.#cluster = cluster
    this.process = new Process(`client ${machine.id}`, machine)
    this.#pause(PAUSE_MS)
  }

  #pause(ms: number): void {
    const { world } = this.#cluster
    world.after(ms * world.random.next() + 1, this.process, () => this.#next())
  }

  #next(): void {
    const { world, judge, network, nodes, poolers } = this.#cluster
    const { random } = world
    if (this.#target === '') this.#target = random.pick([...nodes.keys()])
    const request: Request = { kind: random.chance(0.5) ? 'write' : 'read', value: ++values }
    const operation = ++this.#operation
    const before = judge.acknowledged.length
    const node = nodes.get(this.#target)!
    const term = this.#term
    network.send(this.process.machine, node.machine, () => {
      const pooler = poolers.get(node.id)!
      world.after(0, pooler.process, () => {
        pooler.take(request, term, (answer) => {
          if (answer.kind === 'read') judge.read(answer.sees.sees, before, node)
          network.sendTo(node.machine, this.process, () => {
            if (operation === this.#operation) this.#heard(answer, node.id)
          })
        })
      })
    })
    world.after(PATIENCE_MS, this.process, () => {
      if (operation !== this.#operation) return
      this.#operation += 1
      this.#elsewhere()
    })
  }

  #heard(answer: Answer, id: string): void {
    const { judge, nodes, world } = this.#cluster
    this.#operation += 1
    if (answer.kind === 'refused') {
      const { serving, term } = answer.state
      if (serving && term !== this.#term) this.#term = term
      else this.#target = ''
      return this.#pause(REFUSED_PAUSE_MS)
    }
    if (answer.kind === 'unknown') return this.#elsewhere()
    if (answer.kind === 'written') {
      this.acknowledged += 1
      this.lastAckAt = world.time
      judge.heard(answer.record, nodes.get(id)!)
    }
    // What somebody has read does not vanish either.
    const { newest } = answer.kind === 'read' ? answer.sees : {}
    if (newest !== undefined) judge.heard(newest, nodes.get(id)!)
    this.#pause(PAUSE_MS)
  }

  #elsewhere(): void {
    this.#target = ''
    this.#pause(REFUSED_PAUSE_MS)
  }
}
