// All that stands in a world: nodes, orchestrators, clients on every side.
import { INITIAL_NUMBER, type Rule } from '../../../shared/consensus/rule.ts'
import { NO_REVOCATION } from '../../../shared/consensus/revocation.ts'
import { Postgres } from '../postgres/server.ts'
import type { WalRecord } from '../postgres/wal.ts'
import { enterScene, type NodeParts, type Scene } from '../world/here.ts'
import { Network } from '../world/network.ts'
import { type Machine, Process, type World } from '../world/world.ts'
import { Client } from './client.ts'
import { Judge } from './judge.ts'
import { type Orch, type Records, startOrch } from './orch.ts'
import { Pooler } from './pooler.ts'

/** What a run consists of. */
export type Shape = {
  readonly ids: readonly string[]
  readonly durability: string
  readonly orchs: number
}

const LEASE_MS = 1000

/** See the head of this file. */
export class Cluster {
  readonly world: World
  readonly network: Network
  readonly nodes = new Map<string, NodeParts>()
  readonly poolers = new Map<string, Pooler>()
  readonly orchs: { machine: Machine; life: Orch }[] = []
  readonly clients: Client[] = []
  readonly judge: Judge
  readonly scene: Scene
  readonly #shape: Shape
  readonly #records: Records

  constructor(world: World, shape: Shape) {
    this.world = world
    this.#shape = shape
    this.network = new Network(world)
    const poolers = this.poolers
    const nodes = this.nodes
    this.judge = new Judge(world, { nodes: () => nodes.values(), poolers: () => poolers.values() })
    const { network, judge: witness } = this
    this.scene = { world, network, nodes, listeners: new Map(), witness, promotions: [] }
    enterScene(this.scene)
    const { ids, durability } = shape
    const [first = ''] = ids
    const incarnations = Object.fromEntries(ids.map((id) => [id, `i-${id}`]))
    const claim = { claimer: '', first, incarnations, attempt: 1, state: 'claimed' } as const
    this.#records = { durability, claim, revision: 1n }
    const birth = firstRecord(durability)
    for (const id of ids) this.nodes.set(id, this.#node(id, birth))
    for (const node of this.nodes.values()) this.poolers.set(node.id, this.startPooler(node))
    for (let rank = 0; rank < shape.orchs; rank += 1) this.#addOrch(rank)
    for (const id of ids) this.clients.push(new Client(this, this.nodes.get(id)!.machine))
    this.clients.push(new Client(this, world.machine('outside')))
    world.check = () => this.judge.check()
  }

  #node(id: string, birth: WalRecord): NodeParts {
    const { world, network } = this
    const machine = world.machine(id)
    const postgres = new Postgres(world, network, machine)
    const node: NodeParts = {
      id,
      machine,
      postgres,
      promises: {
        incarnation: `i-${id}`,
        revocation: NO_REVOCATION,
        recruitBlockedUntil: undefined,
        promoting: undefined,
        opened: undefined,
      },
      pgctld: new Process(`pgctld ${id}`, machine),
      pgctldBusy: Promise.resolve(),
      pooler: undefined,
      diskFull: false,
      noRoom: false,
      tellPooler: () => {},
    }
    const settings = {}
    postgres.disk = { wal: [birth], timeline: 1, history: [], systemId: '7', settings }
    postgres.peer = (host) => this.nodes.get(host)?.postgres
    postgres.onChange = () => this.#changed(node)
    return node
  }

  /** Sessions end when a Postgres does: the pooler looks at once. */
  #changed(node: NodeParts): void {
    const member = this.poolers.get(node.id)?.member
    const { pooler } = node
    if (member === undefined || pooler === undefined) return
    this.world.after(1, pooler, () => void member.observe())
  }

  startPooler(node: NodeParts): Pooler {
    const pooler = new Pooler(this.scene, node)
    pooler.admitted = () => this.judge.admits(pooler)
    this.poolers.set(node.id, pooler)
    return pooler
  }

  #addOrch(rank: number): void {
    const machine = this.world.machine(`orch${rank + 1}`)
    this.orchs.push({ machine, life: this.startOrch(machine, rank) })
  }

  startOrch(machine: Machine, rank: number): Orch {
    const cells = [...new Set(this.#shape.ids.map((id) => id.slice(0, id.indexOf('_'))))]
    const records = this.#records
    return startOrch(this.scene, { machine, rank, records, cells })
  }

  /** Who answers clients now. */
  get leader(): Pooler | undefined {
    return [...this.poolers.values()].find(
      ({ process, serving }) => process.alive && serving.current.serving,
    )
  }
}

function firstRecord(durability: string): WalRecord {
  const decision: Rule = {
    number: INITIAL_NUMBER,
    leaderId: '',
    cohort: [],
    durability,
    leaseMs: LEASE_MS,
    coordinatorId: 'initdb',
    createdUnixMs: 1n,
  }
  const row = { decision, proposal: undefined }
  return { at: 0, kind: 'rule', value: 0, row, timeline: 1 }
}
