// Stories that were found by random seeds, told with as few events as they need.
import type { Cluster } from './cluster/cluster.ts'
import type { Nemesis } from './cluster/nemesis.ts'

/** By name. */
export const SCRIPTS: Readonly<Record<string, (cluster: Cluster, nemesis: Nemesis) => void>> = {}
