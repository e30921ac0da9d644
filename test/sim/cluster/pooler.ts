// A pooler: the real consensus part on this node, and beside it the part of the data path that
// decides which answers reach clients, step by step as pooler/execute does it: a batch starts when
// the gate lets it, and is revoked at once when the node stops serving.
import { startManager } from '../../../pooler/term/manager.ts'
import type { Member } from '../../../pooler/term/member.ts'
import { type ServingState, ServingStateCell } from '../../../pooler/term/serving-state.ts'
import { ServingGate } from '../../../pooler/execute/serving-gate.ts'
import { nullLogger } from '../../../shared/log/logger.ts'
import type { Handler, NodeParts, Scene } from '../world/here.ts'
import { Process } from '../world/world.ts'
import type { Postgres } from '../postgres/server.ts'
import type { WalRecord } from '../postgres/wal.ts'

/** What a client asks for. */
export type Request = { readonly kind: 'read' | 'write'; readonly value: number }

/** What it hears. A snapshot tells which records it saw. */
export type Answer =
  | { readonly kind: 'refused'; readonly state: ServingState }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'written'; readonly record: WalRecord }
  | { readonly kind: 'read'; readonly sees: Snapshot }

/** Of the records that are there, which one a read saw; and the newest of them. */
export type Snapshot = ReturnType<Postgres['snapshot']>

type Batch = { revoked: boolean }

const SLOW = 0.05
const SLOW_MS = 1500
const USUAL_MS = 3
const BARRIER_POLL_MS = 5

/** One life of a pooler. */
export class Pooler {
  readonly process: Process
  readonly serving = new ServingStateCell()
  readonly node: NodeParts
  readonly #scene: Scene
  readonly #gate = new ServingGate(this.serving.current)
  readonly #batches = new Set<Batch>()
  member: Member | undefined
  admitted: (pooler: Pooler) => void = () => {}
  handlers: Readonly<Record<string, Handler>> = {}

  constructor(scene: Scene, node: NodeParts) {
    this.#scene = scene
    this.node = node
    this.process = new Process(`pooler ${node.id}`, node.machine)
    node.pooler = this.process
    this.#gate.lease = this.serving
    this.serving.onChange((state) => this.#changed(state))
    scene.world.enter(this.process, () => void this.#start())
  }

  async #start(): Promise<void> {
    const { id, machine } = this.node
    const values = {
      id,
      cell: id.slice(0, id.indexOf('_')),
      pgctld: id,
      database: 'postgres',
      shard: '0-inf',
      stateDir: id,
      postgresHost: machine.id,
      postgresPort: 5432,
      statusIntervalMs: 250,
    }
    const none = { [Symbol.dispose]() {} }
    const rpc = {
      port: 1,
      add: (_service: unknown, handlers: unknown) => {
        this.handlers = handlers as typeof this.handlers
      },
      async [Symbol.asyncDispose]() {},
    }
    const owned = {
      use: <T>(resource: T): T => {
        if (isMember(resource)) this.member = resource
        return resource
      },
    }
    const options = {
      config: { values },
      log: nullLogger,
      metrics: { gauge: () => none },
      serving: this.serving,
      rpc,
      topology: {},
      secrets: { token: undefined, read: () => Promise.resolve(undefined) },
      owned,
      stopping: new AbortController().signal,
    }
    await startManager(options as unknown as Parameters<typeof startManager>[0])
    const { process, handlers } = this
    this.#scene.listeners.set(id, { process, handlers })
  }

  /** Whether an answer that left now would be a leader's. */
  get answers(): boolean {
    return this.serving.current.serving && this.serving.answers()
  }

  #changed(state: ServingState): void {
    this.#gate.set(state)
    const { role, serving, reason, term } = state
    const { world } = this.#scene
    world.note(`pooler ${this.node.id}: ${role} ${term} ${serving ? 'serves' : reason}`)
    if (serving) return
    for (const batch of this.#batches) batch.revoked = true
    this.#batches.clear()
  }

  /** A batch from a gateway that believes in rule `term`; `reply` sends towards it. */
  take(request: Request, term: bigint, reply: (answer: Answer) => void): void {
    if (this.#gate.check(headOf(term), 0, false) !== undefined) {
      return reply({ kind: 'refused', state: this.serving.current })
    }
    this.admitted(this)
    const { postgres } = this.node
    const { world } = this.#scene
    const batch = { revoked: false }
    this.#batches.add(batch)
    const server = postgres.process
    if (server === undefined || !postgres.accepting) return reply({ kind: 'unknown' })
    const finish = (answer: Answer): void => {
      world.after(0.3 * world.random.next(), this.process, () => this.#finish(batch, answer, reply))
    }
    server.onDeath.add(() => finish({ kind: 'unknown' }))
    const slow = world.random.chance(SLOW) ? SLOW_MS : USUAL_MS
    world.after(slow * world.random.next(), server, () => {
      if (request.kind === 'read') return finish({ kind: 'read', sees: postgres.snapshot() })
      if (postgres.state !== 'primary') return finish({ kind: 'unknown' })
      postgres.commit(request.value, (how, record) => {
        finish(how === 'acknowledged' ? { kind: 'written', record } : { kind: 'unknown' })
      })
    })
  }

  /** On the way out. After a wait that ended early nothing leaves before the quorum has it all. */
  #finish(batch: Batch, answer: Answer, reply: (answer: Answer) => void): void {
    const { postgres } = this.node
    const { world } = this.#scene
    if (batch.revoked || answer.kind === 'unknown') return reply({ kind: 'unknown' })
    if (postgres.barrier > postgres.quorumFlush()) {
      world.after(BARRIER_POLL_MS, this.process, () => this.#finish(batch, answer, reply))
      return
    }
    this.#batches.delete(batch)
    reply(answer)
  }
}

const heads = new Map<bigint, Buffer>()

function headOf(term: bigint): Buffer {
  let head = heads.get(term)
  if (head === undefined) {
    head = Buffer.alloc(16)
    head.writeBigUInt64BE(term, 0)
    heads.set(term, head)
  }
  return head
}

function isMember(resource: unknown): resource is Member {
  return typeof resource === 'object' && resource !== null && 'recruitView' in resource
}
