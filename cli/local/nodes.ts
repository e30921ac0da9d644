// The nodes of a cluster that runs: one more, or one less. Each is a pooler with its pgctld; who is
// in the cohort is the orchestrator's affair.
//
// Invariant: what the next start finds in the folder's marker is what runs. An index is never given
// to another node, so what was known of one is never taken for another's.
import { rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { RefusedError } from '../errors.ts'
import { keepFlag, readMarker } from './cluster-dir.ts'
import type { ControlReply, ControlRequest } from './control.ts'
import { seatsOf, type PoolerPlan } from './plan.ts'
import type { PreparedCluster } from './prepare.ts'
import type { Seat, StartOptions } from './start-options.ts'
import type { Supervisor } from './supervisor.ts'

/** One cluster's nodes, as its supervisor changes them. */
export class Nodes {
  readonly #cluster: PreparedCluster
  readonly #supervisor: Supervisor
  #seats: readonly Seat[]
  #nextSeat: number

  constructor(cluster: PreparedCluster, supervisor: Supervisor, options: StartOptions) {
    this.#cluster = cluster
    this.#supervisor = supervisor
    this.#seats = seatsOf(options)
    const highest = Math.max(...this.#seats.map(({ index }) => index))
    this.#nextSeat = readMarker(cluster.paths.dir)?.nextSeat ?? highest + 1
  }

  /** Does what was asked for. @throws RefusedError. */
  async handle(request: ControlRequest): Promise<ControlReply> {
    if (request.op === 'add node') return this.#add(request.cell)
    if (request.op === 'keep durability') {
      keepFlag(this.#cluster.paths.dir, 'durability', request.durability)
      return nameOf(undefined)
    }
    return await this.#remove(request.id, request.clean)
  }

  #add(wanted: string | undefined): ControlReply {
    const { cells } = this.#cluster.plan
    const cell = wanted ?? this.#emptiest(cells)
    if (!cells.includes(cell)) {
      throw new RefusedError(`there is no cell ${cell}: ${cells.join(', ')}`)
    }
    const seats = [...this.#seats, { index: this.#nextSeat, cell }]
    const { plan, specs, keep } = this.#cluster.reseat(seats)
    keep(this.#nextSeat + 1)
    this.#seats = seats
    this.#nextSeat += 1
    this.#supervisor.add(plan, specs)
    return nameOf(plan.poolers.at(-1))
  }

  #emptiest(cells: readonly string[]): string {
    const count = (cell: string): number => this.#seats.filter((seat) => seat.cell === cell).length
    const [first = ''] = cells.toSorted((a, b) => count(a) - count(b))
    return first
  }

  async #remove(id: string, clean: boolean): Promise<ControlReply> {
    const before = this.#cluster.reseat(this.#seats).plan
    const at = before.poolers.findIndex((pooler) => pooler.id === id)
    const pooler = before.poolers[at]
    if (pooler === undefined) {
      throw new RefusedError(`there is no node ${id}: ${before.poolers.map(nameText).join(', ')}`)
    }
    if (before.poolers.length === 1) throw new RefusedError(`${id} is the last node`)
    const seats = this.#seats.filter((_, index) => index !== at)
    const { plan, keep } = this.#cluster.reseat(seats)
    keep(this.#nextSeat)
    this.#seats = seats
    await this.#supervisor.remove(plan, [pooler.id, pooler.pgctld.id])
    if (clean) {
      for (const dir of [pooler.home, dirname(pooler.pgctld.dataDir)]) {
        rmSync(dir, { recursive: true, force: true })
      }
    }
    return nameOf(pooler)
  }
}

const nameText = ({ id }: PoolerPlan): string => id

const nameOf = (pooler: PoolerPlan | undefined): ControlReply => {
  return { id: pooler?.id ?? '', cell: pooler?.cell ?? '' }
}
