// One seed: a cluster is born, things go wrong, then nothing more does; and what must come of it.
import { useTimeSource } from '../../shared/time/clock.ts'
import { Cluster, type Shape } from './cluster/cluster.ts'
import { type Fault, Nemesis, USUAL_FAULTS } from './cluster/nemesis.ts'
import { SCRIPTS } from './scripts.ts'
import { AIMS } from './crash-points.ts'
import { World } from './world/world.ts'

/** What came of one seed. */
export type Outcome = {
  readonly seed: number
  readonly violation: { readonly rule: string; readonly message: string } | undefined
  readonly steps: number
  /** Leaders appointed beyond the first. */
  readonly failovers: number
  readonly acknowledged: number
  readonly crashes: ReadonlyMap<string, number>
  readonly trace: readonly string[]
}

/** How seeds are run. */
export type RunOptions = {
  readonly faults?: readonly Fault[]
  readonly shape?: Shape
  readonly tracing?: boolean
  /** Whether what is cut off must come back in time. */
  readonly liveness?: boolean
  /** The story in place of a random one; the leader is there when it begins. */
  readonly script?: string
}

const SHAPES: readonly Shape[] = [
  { ids: ['a_1', 'a_2', 'a_3'], durability: 'at_least_2', orchs: 1 },
  { ids: ['a_1', 'a_2', 'a_3'], durability: 'at_least_2', orchs: 2 },
  { ids: ['a_1', 'b_1', 'c_1'], durability: 'multi_cell_at_least_2', orchs: 2 },
  { ids: ['a_1', 'a_2', 'a_3', 'a_4', 'a_5'], durability: 'at_least_3', orchs: 2 },
  { ids: ['a_1', 'a_2', 'a_3', 'a_4', 'a_5'], durability: 'at_least_2', orchs: 1 },
  { ids: ['a_1', 'a_2', 'b_1', 'b_2', 'c_1'], durability: 'multi_cell_at_least_2', orchs: 2 },
  { ids: ['a_1', 'a_2', 'a_3', 'a_4'], durability: 'at_least_2', orchs: 1 },
]

/** Steps that are rarely come to, and what leads to them. */
const OCCASIONS: readonly (readonly [point: string, fault: string])[] = [
  ['asking for a stream', 'no walsenders'],
  ['clone', 'lose data'],
  ['copies', 'lose data'],
  ['recruitBlockedUntil', 'lose data'],
  ['pgctld stop', 'isolate a busy one'],
  ['postgres stops', 'rash appointment'],
  ['restart', 'rash appointment'],
  ['pgctld starts', 'rash appointment'],
  ['promot', 'power cut'],
  ['proposing', 'power cut'],
  ['deciding', 'power cut'],
  ['reading the list', 'power cut'],
  ['opened', 'power cut'],
  ['ending readers', 'power cut'],
]

/** Steps at which somebody dies, in each run. */
const AIMS_A_RUN = 2
const BIRTH_MS = 6000
const TROUBLE_MS = 6000
const QUIET_MS = 25_000
const AFTERWARDS_MS = 1500
const LOOK_MS = 250
const FAILOVER_MS = 4000

/** Runs it to its end, or to the first invariant that does not hold. */
export function runSeed(seed: number, options: RunOptions = {}): Outcome {
  const world = new World(seed)
  const { random } = world
  world.tracing = options.tracing ?? false
  using _ = useTimeSource(world.clock)
  const cluster = new Cluster(world, options.shape ?? random.pick(SHAPES))
  for (const { machine } of cluster.nodes.values()) machine.rate = 0.95 + 0.1 * random.next()
  const nemesis = new Nemesis(cluster, options.faults ?? USUAL_FAULTS)
  untilServed(cluster, BIRTH_MS)
  const born = cluster.judge.decisions
  nemesis.born = born
  if (cluster.leader === undefined) world.fail('a shard is born', 'nobody leads')
  if (options.script === undefined) trouble(cluster, nemesis)
  else SCRIPTS[options.script]?.(cluster, nemesis)
  world.run(world.time + TROUBLE_MS)
  nemesis.end()
  const liveness = options.liveness !== false && nemesis.lost === 0
  settle(cluster, liveness)
  if (cluster.judge.decisions === born) {
    replaceLeader(cluster, nemesis)
    settle(cluster, liveness)
  }
  const { violation, steps, crashes, trace } = world
  const acknowledged = cluster.judge.acknowledged.length
  const failovers = cluster.judge.decisions - born
  return { seed, violation, steps, failovers, acknowledged, crashes, trace }
}

function untilServed(cluster: Cluster, ms: number): void {
  const { world } = cluster
  const end = world.time + ms
  while (world.time < end && world.violation === undefined) {
    world.run(world.time + LOOK_MS)
    if (cluster.leader !== undefined) return
  }
}

function trouble(cluster: Cluster, nemesis: Nemesis): void {
  const { world } = cluster
  const { random } = world
  // Each run has a failover of its own.
  const how = random.pick(['power cut', 'kill postgres', 'isolate', 'kill pooler'])
  world.after(TROUBLE_MS * 0.4 * random.next(), undefined, () => {
    const { leader } = cluster
    if (leader !== undefined) nemesis.do(how, leader.node, { atLeastMs: 2500 })
    if (leader !== undefined && how === 'kill pooler') leader.node.postgres.crash('process')
  })
  for (let left = 1 + random.integer(4); left > 0; left -= 1) {
    world.after(TROUBLE_MS * random.next(), undefined, () => nemesis.strike())
  }
  for (let aims = AIMS_A_RUN; aims > 0; aims -= 1) {
    const point = random.pick(AIMS)
    const occasion = OCCASIONS.find(([name]) => point.includes(name))?.[1]
    nemesis.aim(point, occasion === undefined ? 1 + random.integer(3) : 1)
    if (occasion === undefined) continue
    world.after(TROUBLE_MS * 0.5 * random.next(), undefined, () => nemesis.strike(occasion))
  }
}

/** What went wrong was borne without another leader: one run has one failover at least. */
function replaceLeader(cluster: Cluster, nemesis: Nemesis): void {
  untilServed(cluster, BIRTH_MS)
  const { world, leader } = cluster
  if (leader === undefined) return
  nemesis.do('power cut', leader.node, { atLeastMs: FAILOVER_MS })
  world.run(world.time + FAILOVER_MS)
}

/** Faults have stopped: within a bound one leader serves and takes writes. */
function settle(cluster: Cluster, liveness: boolean): void {
  const { world, clients } = cluster
  const quietFrom = world.time
  const end = quietFrom + QUIET_MS
  const outside = clients.at(-1)!
  while (world.violation === undefined && outside.lastAckAt <= quietFrom + 500) {
    if (world.time > end) {
      if (liveness) world.fail('quiet ends', 'no write is acknowledged')
      return
    }
    world.run(world.time + LOOK_MS)
  }
  if (world.violation === undefined) world.run(world.time + AFTERWARDS_MS)
}
