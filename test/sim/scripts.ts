// Stories that were found by random seeds, or by reading, told with as few events as they need.
// Each is a fault that the protocol is meant to bear and today does not.
import type { Cluster } from './cluster/cluster.ts'
import type { Nemesis } from './cluster/nemesis.ts'

const WALL_JUMP_MS = 3000

/** A story: what goes wrong once a leader serves. */
export type Script = (cluster: Cluster, nemesis: Nemesis) => void

/** By name. */
export const SCRIPTS: Readonly<Record<string, Script>> = {
  /**
   * A leader that the orchestrators do not hear is replaced while its followers still grant it; the
   * wall clock of its successor is set forward while that waits for the lease to run out.
   */
  'the wall clock of a waiting leader jumps': ({ world, network, nodes, orchs, leader }) => {
    const old = leader?.node
    for (const { machine } of orchs) {
      network.cut(machine.id, old?.id ?? '')
      network.cut(old?.id ?? '', machine.id)
    }
    world.after(1300, undefined, () => orchs[0]?.life.appointRashly())
    world.after(1600, undefined, () => {
      for (const node of nodes.values()) {
        if (node !== old) node.machine.wallOffsetMs += WALL_JUMP_MS
      }
    })
  },
  /** The servers of all followers start anew between a promotion and the decision of its rule. */
  'followers start anew while a leader is promoted': ({ world, nodes, leader }, nemesis) => {
    if (leader !== undefined) nemesis.do('power cut', leader.node)
    const look = (): void => {
      const promoted = [...nodes.values()].find(
        ({ postgres }) => postgres.state === 'primary' && postgres.row.proposal !== undefined,
      )
      if (promoted === undefined) return void world.after(0.5, undefined, look)
      for (const node of nodes.values()) if (node !== promoted) node.postgres.crash('process')
    }
    look()
  },
}
