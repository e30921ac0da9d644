// Stories that were found by random seeds, or by reading, told with as few events as they need.
// The first three are faults that the protocol is meant to bear and today does not.
import type { Cluster } from './cluster/cluster.ts'
import type { Nemesis } from './cluster/nemesis.ts'
import type { NodeParts } from './world/here.ts'

const WALL_JUMP_MS = 3000
const LOOK_MS = 0.2
const BURST = 40

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

  /** The server of a new leader ends as soon as it has left recovery, before any rule says so. */
  'a server ends while it is promoted': (cluster, nemesis) => {
    const { leader } = cluster
    if (leader === undefined) return
    nemesis.do('power cut', leader.node, { atLeastMs: 4000 })
    const promoted = (): NodeParts | undefined => {
      return followers(cluster).find(({ postgres }) => postgres.state === 'primary')
    }
    until(
      cluster,
      () => promoted() !== undefined,
      () => promoted()?.postgres.crash('process'),
    )
  },

  /**
   * A promotion ends before its rule is written, when the followers have moved to its timeline; the
   * old leader is back with more WAL than they have, none of it acknowledged.
   */
  'a promotion comes to nothing': (cluster, nemesis) => {
    const { world, network, leader, nodes } = cluster
    const old = leader?.node
    if (old === undefined) return
    nemesis.do('isolate', old, { atLeastMs: 3500 })
    burst(old)
    const others = followers(cluster)
    const moved = (): boolean => others.every(({ postgres }) => postgres.data.timeline > 2)
    const promoted = (): NodeParts | undefined => {
      return others.find(({ postgres }) => postgres.state === 'primary')
    }
    until(
      cluster,
      () => promoted() !== undefined,
      () => {
        const successor = promoted()!
        if (successor.pooler !== undefined) nemesis.killFor(successor.pooler, 400)
        until(cluster, moved, () => {
          successor.postgres.crash('process')
          network.heal()
          world.note(`${nodes.size} members, all but ${old.id} on another timeline`)
        })
      },
    )
  },
  /** Who holds the newest writes was restarted and has asked for a stream that never came. */
  'a follower asks for a stream when its leader dies': (cluster, nemesis) => {
    const { world, network, leader } = cluster
    const [late, holder] = followers(cluster)
    if (leader === undefined || late === undefined || holder === undefined) return
    network.cut(leader.node.id, late.id)
    world.after(100, undefined, () => burst(leader.node))
    world.after(300, undefined, () => {
      holder.postgres.crash('process')
      until(
        cluster,
        () => holder.postgres.receiver?.streaming === false,
        () => {
          network.heal()
          nemesis.do('power cut', leader.node)
        },
      )
    })
  },
  /** A leader is replaced while the grants to it are slow on their way. */
  'grants arrive late': (cluster) => {
    const { world, network } = cluster
    deafen(cluster)
    world.after(1150, undefined, () => void (network.weather.late = 0.5))
    world.after(1290, undefined, () => void (network.weather.late = 0))
    world.after(1300, undefined, () => cluster.orchs[0]?.life.appointRashly())
  },
  /** A leader is replaced, and its successor as soon as that is decided and does not serve yet. */
  'a leader that has not opened is replaced': (cluster) => {
    const { world, orchs, judge } = cluster
    deafen(cluster)
    const { decisions } = judge
    world.after(1300, undefined, () => orchs[0]?.life.appointRashly())
    const again = (): void => {
      world.after(60, undefined, () => orchs[0]?.life.appointRashly())
    }
    until(cluster, () => judge.decisions > decisions, again)
  },
  /** A member loses its data while another one is behind; when it has a copy the leader dies. */
  'a member is copied anew': (cluster, nemesis) => {
    const { world, network, leader } = cluster
    const [late, holder] = followers(cluster)
    if (leader === undefined || late === undefined || holder === undefined) return
    network.cut(leader.node.id, late.id)
    network.cut(late.id, leader.node.id)
    world.after(50, undefined, () => burst(leader.node))
    world.after(150, undefined, () => {
      nemesis.do('lose data', holder)
      const copied = (): boolean => holder.postgres.accepting
      until(cluster, copied, () => {
        network.heal()
        nemesis.do('power cut', leader.node)
      })
    })
  },
  /**
   * A leader that was cut off has diverged and is to become a copy of its successor. That copy ends
   * before it has begun; another member loses its data, and the successor its power for a while.
   */
  'a copy comes to nothing': (cluster, nemesis) => {
    const { network, leader } = cluster
    const old = leader?.node
    if (old === undefined) return
    nemesis.do('isolate', old, { atLeastMs: 6000 })
    burst(old)
    const successor = (): NodeParts | undefined =>
      cluster.leader?.node === old ? undefined : cluster.leader?.node
    const isBegun = (): boolean =>
      old.promises?.recruitBlockedUntil !== undefined && !old.postgres.running
    const replaced = (): void => {
      network.heal()
      until(cluster, isBegun, () => {
        if (old.pooler !== undefined) nemesis.killFor(old.pooler, 300)
        nemesis.killFor(old.pgctld, 300)
        const leads = successor()
        const lost = [...cluster.nodes.values()].find((node) => node !== old && node !== leads)
        if (leads === undefined || lost === undefined) return
        nemesis.do('lose data', lost)
        nemesis.do('power cut', leads)
      })
    }
    until(cluster, () => successor() !== undefined, replaced)
  },
  /** A member that promised loses its promise; another orchestrator knows nothing of it. */
  'a promise is lost': (cluster, nemesis) => {
    const { world, network, orchs, leader } = cluster
    const [successor, other] = followers(cluster)
    const [one, two] = orchs
    if (leader === undefined || successor === undefined || other === undefined) return
    if (one === undefined || two === undefined) return
    const cut = (left: string, right: string): void => {
      network.cut(left, right)
      network.cut(right, left)
    }
    cut(one.machine.id, leader.node.id)
    cut(two.machine.id, other.id)
    cut(two.machine.id, successor.id)
    world.after(1300, undefined, () => one.life.appointRashly())
    const promised = (): boolean => (other.promises?.revocation.revokedBelowTerm ?? 0n) >= 2n
    until(cluster, promised, () => {
      nemesis.do('lose promises', other)
      world.after(700, undefined, () => {
        network.heal()
        cut(two.machine.id, successor.id)
        world.after(20, undefined, () => two.life.appointRashly())
      })
    })
  },
  /**
   * Two appointments over one rule: who recruited last is late with its promotion, and some of those
   * that it recruited are told to follow the other one's leader, whose rule is not decided yet.
   */
  'a promise is met by the order to follow another': (cluster) => {
    const { world, network, orchs, leader } = cluster
    const [first] = orchs
    const last = orchs.at(-1)
    if (first === undefined || last === undefined || leader === undefined) return
    const [, unheard] = followers(cluster)
    network.cut(first.machine.id, unheard?.id ?? '')
    network.cut(unheard?.id ?? '', first.machine.id)
    if (last !== first) network.cut(leader.node.id, last.machine.id)
    world.after(1300, undefined, () => void (network.weather.late = 0.5))
    world.after(1300, undefined, () => first.life.appointRashly())
    world.after(1300 + 300 * world.random.next(), undefined, () => last.life.appointRashly())
  },
  /** Each order to lead that was ever given arrives once more, much later. */
  'old orders arrive again': (cluster) => {
    const { world, orchs, scene } = cluster
    deafen(cluster)
    world.after(1300, undefined, () => orchs[0]?.life.appointRashly())
    world.after(4500, undefined, () => {
      for (const again of scene.promotions.slice()) again()
    })
  },
}

function deafen({ network, orchs, leader }: Cluster): void {
  for (const { machine } of orchs) {
    network.cut(machine.id, leader?.node.id ?? '')
    network.cut(leader?.node.id ?? '', machine.id)
  }
}

function followers({ nodes, leader }: Cluster): NodeParts[] {
  return [...nodes.values()].filter((node) => node !== leader?.node)
}

function burst({ postgres }: NodeParts): void {
  for (let left = BURST; left > 0; left -= 1) postgres.commit(-left, () => {})
}

function until({ world }: Cluster, met: () => boolean, then: () => void): void {
  if (met()) return then()
  world.after(LOOK_MS, undefined, () => until({ world } as Cluster, met, then))
}
