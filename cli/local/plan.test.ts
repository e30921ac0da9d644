import { expect, test } from 'bun:test'
import { readCommandFlags } from '../flags.ts'
import { clusterPaths } from './cluster-dir.ts'
import { planCluster, portSlots, type ClusterPlan } from './plan.ts'
import { parseSettings } from './settings.ts'
import { START_FIELDS, type StartOptions } from './start-options.ts'

const optionsOf = (argv: readonly string[]): StartOptions =>
  readCommandFlags(START_FIELDS, argv).values

function planOf(argv: readonly string[], sets: readonly string[] = []): ClusterPlan {
  const options = optionsOf(argv)
  const settings = parseSettings(sets, ['zone1_pooler2'])
  const slots = portSlots(options, settings)
  const paths = clusterPaths('/srv/demo')
  return planCluster({
    options,
    paths,
    clusterId: 'c',
    ports: Object.fromEntries(slots.map(({ name, preferred }) => [name, preferred])),
    dataRoot: paths.poolers,
    runDir: paths.run,
    postgresRunDir: paths.run,
  })
}

test('the i-th of a kind adds i to the ports of the contract', () => {
  const plan = planOf(['--gateways', '2'])
  expect(plan.gateways.map(({ httpPort, grpcPort, port }) => [httpPort, grpcPort, port])).toEqual([
    [15_100, 15_170, 15_432],
    [15_101, 15_171, 15_432],
  ])
  expect(plan.poolers.map(({ httpPort, grpcPort, port }) => [httpPort, grpcPort, port])).toEqual([
    [15_200, 15_270, 15_500],
    [15_201, 15_271, 15_501],
    [15_202, 15_272, 15_502],
  ])
  expect(plan.orchs[0]).toMatchObject({ httpPort: 15_300, grpcPort: 15_370 })
  const agents = plan.poolers.map(({ pgctld }) => pgctld)
  expect(agents.map(({ httpPort, grpcPort }) => [httpPort, grpcPort])).toEqual([
    [15_400, 15_470],
    [15_401, 15_471],
    [15_402, 15_472],
  ])
  expect(agents.map(({ postgresPort }) => postgresPort)).toEqual([25_432, 25_433, 25_434])
})

test('members go round robin over the cells', () => {
  const plan = planOf(['--poolers', '5', '--cells', '3'])
  expect(plan.poolers.map(({ id }) => id)).toEqual([
    'zone1_pooler1',
    'zone2_pooler2',
    'zone3_pooler3',
    'zone1_pooler4',
    'zone2_pooler5',
  ])
  expect(plan.cells).toEqual(['zone1', 'zone2', 'zone3'])
})

test('gateways share the port for clients and have a socket each', () => {
  const { gateways } = planOf(['--gateways', '2', '--port', '6000'])
  expect(gateways.map(({ socket }) => socket)).toEqual([
    '/srv/demo/run/zone1_gateway1/.s.PGSQL.6000',
    '/srv/demo/run/zone1_gateway2/.s.PGSQL.6000',
  ])
})

test('--port moves the gateways only', () => {
  const plan = planOf(['--port', '6000'])
  expect(plan.gateways[0]).toMatchObject({ port: 6000, httpPort: 15_100 })
  expect(plan.poolers[0]).toMatchObject({ port: 15_500 })
})

test('--port 0 asks for a free port everywhere but where --set says one', () => {
  const slots = portSlots(
    optionsOf(['--port', '0']),
    parseSettings(['zone1_pooler2.port=7000'], ['zone1_pooler2']),
  )
  expect(slots.filter(({ free }) => !free)).toMatchObject([
    { name: 'zone1_pooler2.port', preferred: 7000 },
  ])
})

test('an etcd of the cluster has its data in the folder', () => {
  const plan = planOf(['--topology', 'etcd'])
  expect(plan.topology).toBe('etcd://127.0.0.1:15600/multigres')
  expect(plan.etcd?.dataDir).toBe('/srv/demo/etcd')
})

test('the durability of one pooler is one, of more two', () => {
  expect(planOf(['--poolers', '1']).durability).toBe('at_least_1')
  expect(planOf([]).durability).toBe('at_least_2')
})
