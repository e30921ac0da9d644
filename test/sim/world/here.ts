// How the stand-ins for I/O find the world that they are in: there is one at a time, and one
// process at a time runs in it.
import type { Postgres } from '../postgres/server.ts'
import type { WalRecord } from '../postgres/wal.ts'
import type { PromiseState } from '../../../pooler/term/promise-state.ts'
import type { Network } from './network.ts'
import type { Machine, Process, World } from './world.ts'

/** A method of a service; `signal` of a stream. */
export type Handler = (request: never, call: { signal: AbortSignal }) => unknown

/** Who listens at an address. */
export type Listener = {
  readonly process: Process
  readonly handlers: Readonly<Record<string, Handler>>
}

/** What a node has besides its Postgres. */
export type NodeParts = {
  readonly id: string
  readonly machine: Machine
  readonly postgres: Postgres
  /** The promise file's content. */
  promises: PromiseState | undefined
  pgctld: Process
  /** The end of pgctld's present action. */
  pgctldBusy: Promise<unknown>
  pooler: Process | undefined
  /** Its Postgres does not start. */
  diskFull: boolean
  /** It runs, and ends when it is a primary for a moment. */
  noRoom: boolean
  tellPooler: () => void
}

/** What happened, for whoever judges the run. */
export interface Witness {
  promised(node: NodeParts, state: PromiseState): void
  proposed(node: NodeParts): void
  decided(node: NodeParts): void
  released(record: WalRecord, at: NodeParts): void
  replied(node: NodeParts, method: string, reply: unknown): void
  appended(by: Postgres, own: WalRecord | undefined, theirs: WalRecord | undefined): void
}

/** One world with what stands in it. */
export type Scene = {
  readonly world: World
  readonly network: Network
  readonly nodes: ReadonlyMap<string, NodeParts>
  readonly listeners: Map<string, Listener>
  readonly witness: Witness
  /** Sends once more what was ordered. */
  readonly promotions: Array<() => void>
}

let scene: Scene | undefined

/** Makes `next` the world that everybody is in. */
export function enterScene(next: Scene): void {
  scene = next
}

/** The present world. */
export function there(): Scene {
  if (scene === undefined) throw new Error('no world yet')
  return scene
}

/** The process that runs. */
export function self(): Process {
  const { current } = there().world
  if (current === undefined) throw new Error('nobody runs')
  return current
}

/** The node of the process that runs. */
export function here(): NodeParts {
  return nodeCalled(self().machine.id)
}

/** By id, which is also its host. */
export function nodeCalled(id: string): NodeParts {
  const node = there().nodes.get(id)
  if (node === undefined) throw new Error(`no node ${id}`)
  return node
}
