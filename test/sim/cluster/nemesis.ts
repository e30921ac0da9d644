// What goes wrong: processes die, freeze and lose power, at random moments and at named steps;
// networks are cut, one-way too; clocks drift and jump; disks fill, data and promises vanish. It
// also repairs: whatever died is started again.
import type { NodeParts } from '../world/here.ts'
import { type Machine, Process } from '../world/world.ts'
import type { Cluster } from './cluster.ts'

/** A fault, and how often it is chosen among others. */
export type Fault = readonly [name: string, weight: number]

/** What may go wrong in a run. */
export const USUAL_FAULTS: readonly Fault[] = [
  ['kill pooler', 3],
  ['kill postgres', 4],
  ['power cut', 4],
  ['freeze pooler', 3],
  ['freeze postgres', 1],
  ['freeze machine', 2],
  ['isolate', 4],
  ['isolate one way', 3],
  ['isolate a busy one', 3],
  ['bounce', 2],
  ['split', 2],
  ['kill orch', 2],
  ['rash appointment', 6],
  ['storm', 3],
  ['slow network', 2],
  ['clock jump', 2],
  ['suspend', 1],
  ['cancel waits', 1],
  ['kill pgctld', 1],
  ['disk full', 1],
  ['no room', 2],
  ['lose data', 1],
  ['no walsenders', 1],
  ['lose promises', 1],
]

/** Orchestrators that appoint without evidence, in bad weather: what leases have to bear. */
export const RASH: readonly Fault[] = [
  ['rash appointment', 8],
  ['isolate', 2],
  ['isolate one way', 3],
  ['freeze pooler', 4],
  ['slow network', 6],
  ['storm', 3],
  ['kill pooler', 2],
]

/** What has to wait for a failover looks so often. */
const AGAIN_MS = 250

/** One run's faults. */
export class Nemesis {
  readonly #cluster: Cluster
  readonly #faults: readonly Fault[]
  #quiet = false
  /** Steps at which somebody will die, and how often they are still passed before that. */
  readonly #targets = new Map<string, number>()
  /** Machines that are suspended: what ends that, once. */
  readonly #suspended = new Set<() => void>()
  /** Members that lost what only a member added anew would have. */
  lost = 0
  /** Rules that were decided when the shard was born. */
  born = 0

  constructor(cluster: Cluster, faults: readonly Fault[]) {
    this.#cluster = cluster
    this.#faults = faults
    cluster.world.crashAt = (point, process) => this.#diesAt(point, process)
  }

  /** A process will die when it comes to this step for the `countdown`th time. */
  aim(point: string, countdown: number): void {
    this.#targets.set(point, countdown)
  }

  #diesAt(point: string, process: Process): boolean {
    const left = this.#quiet ? undefined : this.#targets.get(point)
    if (left === undefined) return false
    this.#targets.set(point, left - 1)
    if (left > 1) return false
    this.#targets.delete(point)
    const { world } = this.#cluster
    const delay = world.random.chance(0.5) ? 50 : 2000
    world.after(delay * world.random.next() + 20, undefined, () => this.#revive(process))
    return true
  }

  #revive(process: Process): void {
    for (const node of this.#cluster.nodes.values()) {
      if (node.pooler === process && node.machine.up) this.#cluster.startPooler(node)
      if (node.pgctld === process && node.machine.up) this.#startPgctld(node)
    }
    for (const [rank, orch] of this.#cluster.orchs.entries()) {
      if (orch.life.process !== process) continue
      orch.life = this.#cluster.startOrch(orch.machine, rank)
    }
  }

  #startPgctld(node: NodeParts): void {
    node.pgctld = new Process(`pgctld ${node.id}`, node.machine)
    node.pgctldBusy = Promise.resolve()
  }

  /** It dies, and begins anew after `ms`. */
  killFor(process: Process, ms: number): void {
    const { world } = this.#cluster
    world.kill(process)
    world.after(ms, undefined, () => this.#revive(process))
  }

  /** One fault of those that may be. */
  strike(which?: string): void {
    const { random } = this.#cluster.world
    if (which !== undefined) return this.do(which, this.#victimOf(which))
    const total = this.#faults.reduce((sum, [, weight]) => sum + weight, 0)
    let left = random.next() * total
    for (const [name, weight] of this.#faults) {
      left -= weight
      if (left > 0) continue
      const victim = this.#victim()
      if (name !== 'lose promises') return this.do(name, victim)
      return this.#onceFailedOver(() => this.do(name, victim))
    }
  }

  /** Without one member's promises no leader may ever follow the first: one has to before. */
  #onceFailedOver(then: () => void): void {
    if (this.#quiet) return
    const { judge, world } = this.#cluster
    if (judge.decisions > this.born) return then()
    world.after(AGAIN_MS, undefined, () => this.#onceFailedOver(then))
  }

  /** What is done on purpose is done where it has its effect. */
  #victimOf(fault: string): NodeParts {
    const { leader, nodes, world } = this.#cluster
    const others = [...nodes.values()].filter((node) => node !== leader?.node)
    return fault === 'lose data' || leader === undefined ? world.random.pick(others) : leader.node
  }

  /** Leaders more often than others. */
  #victim(): NodeParts {
    const { leader, nodes, world } = this.#cluster
    if (leader !== undefined && world.random.chance(0.6)) return leader.node
    return world.random.pick([...nodes.values()])
  }

  /** That fault, there. */
  do(name: string, node: NodeParts, { atLeastMs = 50 } = {}): void {
    const { world, network, nodes } = this.#cluster
    const { random } = world
    const while_ = (most: number, then: () => void): void => {
      world.after(atLeastMs + most * random.next(), undefined, then)
    }
    world.note(`*** ${name}: ${node.id}`)
    switch (name) {
      case 'kill pooler': {
        const { pooler } = node
        if (pooler === undefined) return
        world.kill(pooler)
        return while_(2500, () => this.#revive(pooler))
      }
      case 'kill postgres':
        return node.postgres.crash('process')
      case 'kill pgctld':
        world.kill(node.pgctld)
        return while_(1000, () => this.#revive(node.pgctld))
      case 'power cut':
        return this.#powerCut(node, while_)
      case 'freeze pooler':
        return this.#freeze([node.pooler], while_)
      case 'freeze postgres':
        return this.#freeze([node.postgres.process], while_)
      case 'freeze machine':
        return this.#freeze([node.pooler, node.postgres.process, node.pgctld], while_)
      case 'suspend':
        return this.#suspend(node, while_)
      case 'isolate':
      case 'isolate one way':
        for (const other of this.#hosts()) {
          if (other === node.id) continue
          if (name === 'isolate' || random.chance(0.5)) network.cut(node.id, other)
          if (name === 'isolate') network.cut(other, node.id)
        }
        return while_(4000, () => network.heal())
      case 'isolate a busy one':
        this.do('isolate', node, { atLeastMs: 2200 })
        return this.#burst(node)
      case 'bounce':
        return this.#bounce(node)
      case 'split': {
        const side = new Set(this.#hosts().filter(() => random.chance(0.5)))
        for (const from of this.#hosts()) {
          for (const to of this.#hosts()) if (side.has(from) !== side.has(to)) network.cut(from, to)
        }
        return while_(4000, () => network.heal())
      }
      case 'kill orch': {
        const { process } = random.pick(this.#cluster.orchs).life
        world.kill(process)
        return while_(2000, () => this.#revive(process))
      }
      case 'rash appointment':
        return this.#rash(node)
      case 'storm':
        Object.assign(network.weather, { lost: 0.2 * random.next(), late: 0.4 * random.next() })
        return while_(3000, () => Object.assign(network.weather, { lost: 0, late: 0.01 }))
      case 'slow network':
        network.weather.late = 0.6
        return while_(3000, () => Object.assign(network.weather, { lost: 0, late: 0.01 }))
      case 'clock jump':
        node.machine.wallOffsetMs += (random.next() - 0.5) * 8000
        return
      case 'no walsenders':
        node.postgres.refuseStreams()
        return while_(5000, () => void (node.postgres.sendersMax = Infinity))
      case 'cancel waits':
        return node.postgres.cancelWaits()
      case 'disk full':
        node.diskFull = true
        node.postgres.crash('process')
        return while_(2500, () => void (node.diskFull = false))
      case 'no room':
        node.noRoom = true
        if (random.chance(0.5)) node.postgres.crash('process')
        return while_(6000, () => void (node.noRoom = false))
      case 'lose data':
        return this.#loseData(node)
      case 'lose promises':
        return this.#losePromises(node, while_)
      default:
        throw new Error(`no fault ${name} on ${nodes.size} nodes`)
    }
  }

  /**
   * An orchestrator that does not hear the leader, while others do, appoints another one; and soon
   * it, or another one beside it, does so again.
   */
  #rash(node: NodeParts): void {
    const { world, network, orchs } = this.#cluster
    const { random } = world
    const { machine } = random.pick(orchs)
    const deaf = random.chance(0.8)
    if (deaf) {
      network.cut(machine.id, node.id)
      network.cut(node.id, machine.id)
      world.after(3500 + 2000 * random.next(), undefined, () => network.heal())
    }
    // Whom it heard of a moment ago it would wait for.
    const first = (deaf ? 1100 : 0) + 900 * random.next()
    const appoint = (of: Machine): void => {
      orchs.find((orch) => orch.machine === of)?.life.appointRashly()
    }
    world.after(first, undefined, () => appoint(machine))
    if (random.chance(0.3)) return
    const again = random.chance(0.7) ? machine : random.pick(orchs).machine
    world.after(first + 500 * random.next(), undefined, () => appoint(again))
  }

  /** Many sessions commit at once. */
  #burst({ postgres }: NodeParts): void {
    const { world } = this.#cluster
    for (let left = 50 + world.random.integer(150); left > 0; left -= 1) {
      if (postgres.state === 'primary') postgres.commit(-left, () => {})
    }
  }

  /** One follower is late, the others' servers start anew, then the leader loses power. */
  #bounce(node: NodeParts): void {
    const { world, network, nodes } = this.#cluster
    const others = [...nodes.values()].filter((other) => other !== node)
    const late = world.random.pick(others)
    network.cut(node.id, late.id)
    world.after(300, undefined, () => this.#burst(node))
    const at = 320 + 100 * world.random.next()
    world.after(at, undefined, () => {
      for (const other of others) if (other !== late) other.postgres.crash('process')
    })
    world.after(at + 25 + 50 * world.random.next(), undefined, () => {
      network.heal()
      this.do('power cut', node)
    })
  }

  #hosts(): string[] {
    const { nodes, orchs } = this.#cluster
    return [...nodes.keys(), ...orchs.map(({ machine }) => machine.id), 'outside']
  }

  #powerCut(node: NodeParts, later: (most: number, then: () => void) => void): void {
    const { world } = this.#cluster
    const { machine } = node
    if (!machine.up) return
    node.postgres.crash('power')
    if (node.pooler !== undefined) world.kill(node.pooler)
    world.kill(node.pgctld)
    machine.up = false
    later(3000, () => {
      if (machine.up) return // since faults ended: one pooler runs there already
      machine.up = true
      this.#startPgctld(node)
      this.#cluster.startPooler(node)
    })
  }

  #freeze(
    processes: readonly (Process | undefined)[],
    later: (most: number, then: () => void) => void,
  ): void {
    const { world } = this.#cluster
    for (const process of processes) {
      if (process?.alive !== true || process.frozen) continue
      world.freeze(process)
      later(3000, () => world.thaw(process))
    }
  }

  /** Only the boot clock knows of it afterwards. */
  #suspend(node: NodeParts, later: (most: number, then: () => void) => void): void {
    const { world } = this.#cluster
    const processes = [node.pooler, node.postgres.process, node.pgctld]
    const since = world.time
    const stopped = processes.filter((process) => process?.alive === true && !process.frozen)
    for (const process of stopped) world.freeze(process!)
    const wake = (): void => {
      if (!this.#suspended.delete(wake)) return
      node.machine.suspendedMs += world.time - since
      for (const process of stopped) world.thaw(process!)
    }
    this.#suspended.add(wake)
    later(3000, wake)
  }

  /** One disk at a time, and never the leader's: more losses than the policy outlives are real. */
  #loseData(node: NodeParts): void {
    const { judge, nodes, leader, world } = this.#cluster
    if (leader === undefined || leader.node === node) return
    if ([...nodes.values()].some(({ postgres }) => postgres.disk === undefined)) return
    judge.wiping = true
    world.after(200, undefined, () => void (judge.wiping = false))
    node.postgres.crash('process')
    node.postgres.disk = undefined
  }

  #losePromises(node: NodeParts, later: (most: number, then: () => void) => void): void {
    const { world } = this.#cluster
    const { pooler } = node
    if (this.lost > 0 || pooler === undefined) return
    this.lost += 1
    world.kill(pooler)
    node.promises = undefined
    later(500, () => this.#revive(pooler))
  }

  /** Nothing goes wrong any more, and everything runs again. */
  end(): void {
    this.#quiet = true
    const { world, network, nodes, orchs } = this.#cluster
    network.heal()
    Object.assign(network.weather, { lost: 0, late: 0.005 })
    for (const wake of this.#suspended) wake()
    for (const node of nodes.values()) {
      node.diskFull = false
      node.noRoom = false
      node.postgres.sendersMax = Infinity
      node.machine.up = true
      for (const process of [node.pooler, node.postgres.process, node.pgctld]) {
        if (process?.frozen === true) world.thaw(process)
      }
      if (!node.pgctld.alive) this.#startPgctld(node)
      if (node.pooler?.alive !== true) this.#cluster.startPooler(node)
    }
    for (const { life } of orchs) if (!life.process.alive) this.#revive(life.process)
  }
}
