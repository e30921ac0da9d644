// Goal: what two hops cost beside PgBouncer's one, and beside none.
// Method: one Postgres; pgbench against it direct, through PgBouncer and through gateway and pooler,
// like for like (same unix socket to Postgres, SCRAM clients over TCP, pool of 16, logging off),
// interleaved round by round, and compared pair by pair.
import { parseArgs } from 'node:util'
import { cpus } from 'node:os'
import { startCluster } from '../support/cluster.ts'
import { debianTool } from '../support/debian.ts'
import {
  initPgbench,
  runPgbench,
  type PgbenchTool,
  type Sample,
  type Target,
  type Workload,
} from './pgbench.ts'
import { startPgBouncer } from './pgbouncer.ts'
import { median, pairedRatio, type Ratio } from './statistics.ts'

const HELP = `Usage: npm run bench -- [--quick] [--rounds N] [--seconds N] [--clients 1,16,64]
                       [--mode simple,extended,prepared] [--script select-only|tpcb-like]
  --quick      three rounds of two seconds of pgbench -S, simple mode (default: ten of four)
  --rounds N   pairs a case; the 95 % interval needs at least two
  --seconds N  length of one run`

const POOL_SIZE = 16

const { values: flags } = parseArgs({
  args: Bun.argv.slice(2),
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    clients: { type: 'string', default: '1,16,64' },
    mode: { type: 'string', default: 'simple' },
    script: { type: 'string', default: 'select-only' },
    help: { type: 'boolean', default: false },
  },
})
if (flags.help) {
  console.log(HELP)
  process.exit(0)
}
const rounds = Number(flags.rounds ?? (flags.quick ? 3 : 10))
const seconds = Number(flags.seconds ?? (flags.quick ? 2 : 4))

// Said to us by whoever started us; the cluster's own processes have another starter.
delete process.env['MULTIGRES_SUPERVISED']

const pgbench = await debianTool('pgbench')
if ('skipped' in pgbench) throw new Error(`no pgbench: ${pgbench.skipped}`)
await using cluster = await startCluster({
  poolers: 1,
  args: ['--pool-size', String(POOL_SIZE), '--set', 'postgres.max_connections=300'],
})
const status = await cluster.status()
const pooler = status.shards[0]?.poolers[0]
const gateway = status.gateways[0]
if (typeof pooler?.pid !== 'number' || typeof gateway?.pid !== 'number') {
  throw new Error('the cluster has no pooler or gateway')
}
const tool: PgbenchTool = { path: pgbench.path, env: pgbench.env, password: 'postgres' }

const direct: Target = {
  name: 'direct',
  host: pooler.postgres.socket_dir,
  port: pooler.postgres.port,
  pids: [],
}
await initPgbench(tool, direct, 10)
await using bouncer = await startPgBouncer({
  socketDir: pooler.postgres.socket_dir,
  postgresPort: pooler.postgres.port,
  poolSize: POOL_SIZE,
  verifier: await verifierOf(direct),
})
const theirs: Target = {
  name: 'PgBouncer',
  host: '127.0.0.1',
  port: bouncer.port,
  pids: [bouncer.pid],
}
const gatewayPort = Number(new URL(gateway.url).port)
const ours: Target = {
  name: 'multigres',
  host: '127.0.0.1',
  port: gatewayPort,
  pids: [gateway.pid, pooler.pid],
}

console.log(
  `${cpus().length} cores (${cpus()[0]?.model ?? '?'}), ${bouncer.version}, ` +
    `PostgreSQL ${pooler.postgres.version},`,
)
console.log(
  `pgbench ${flags.script}, ${rounds} rounds of ${seconds} s, interleaved, pool of ${POOL_SIZE}\n`,
)
console.log(
  'mode      clients   direct tps  PgBouncer  multigres' +
    '   tps ratio [95 %]        CPU ratio [95 %]        added latency',
)
for (const mode of flags.mode.split(',') as Workload['mode'][]) {
  for (const clients of flags.clients.split(',').map(Number)) {
    const workload: Workload = { script: flags.script as Workload['script'], mode, clients }
    console.log(row(workload, await measure(workload)))
  }
}

/** PgBouncer follows prepared statements across backends since 1.21; an older one fails them. */
function bouncerTakes(mode: Workload['mode']): boolean {
  const [major = 0, minor = 0] = (/(\d+)\.(\d+)/.exec(bouncer.version) ?? []).slice(1).map(Number)
  return mode !== 'prepared' || major > 1 || minor >= 21
}

type Samples = { direct: Sample[]; theirs: Sample[]; ours: Sample[] }

async function measure(workload: Workload): Promise<Samples> {
  const samples: Samples = { direct: [], theirs: [], ours: [] }
  for (let round = 0; round < rounds; round++) {
    // The order turns every round, so that a drift of the machine falls on all alike.
    const order = [
      ['direct', direct],
      ['theirs', theirs],
      ['ours', ours],
    ] as const
    for (let i = 0; i < order.length; i++) {
      const [key, target] = order[(i + round) % order.length] as (typeof order)[number]
      if (key === 'theirs' && !bouncerTakes(workload.mode)) continue
      samples[key].push(await runPgbench(tool, target, workload, seconds))
    }
  }
  return samples
}

function row(workload: Workload, samples: Samples): string {
  const tps = (list: Sample[]) => list.map((sample) => sample.tps)
  const cpu = (list: Sample[]) => list.map((sample) => sample.cpuMsPerTransaction)
  const latency = (list: Sample[]) => median(list.map((sample) => sample.latencyMs)) * 1000
  const added =
    (latency(samples.ours) - latency(samples.direct)) /
    (latency(samples.theirs) - latency(samples.direct))
  return [
    workload.mode.padEnd(9),
    String(workload.clients).padStart(7),
    ...[samples.direct, samples.theirs, samples.ours].map((list) =>
      (list.length === 0 ? '-' : median(tps(list)).toFixed(0)).padStart(11),
    ),
    ...(samples.theirs.length === 0
      ? ['  (this PgBouncer cannot)']
      : [
          `  ${interval(pairedRatio(tps(samples.ours), tps(samples.theirs)))}`,
          `  ${interval(pairedRatio(cpu(samples.ours), cpu(samples.theirs)))}`,
          workload.clients === 1 ? `  ${added.toFixed(1)} x` : '',
        ]),
  ].join(' ')
}

function interval(ratio: Ratio): string {
  return `${ratio.mean.toFixed(2)} x [${ratio.low.toFixed(2)}, ${ratio.high.toFixed(2)}]`
}

/** The SCRAM verifier of user postgres, read over the unix socket. */
async function verifierOf(target: Target): Promise<string> {
  const { default: postgres } = await import('postgres')
  const sql = postgres({
    host: target.host,
    port: target.port,
    user: 'postgres',
    database: 'postgres',
    max: 1,
  })
  const rows = await sql<
    { rolpassword: string }[]
  >`select rolpassword from pg_authid where rolname = 'postgres'`
  await sql.end()
  return rows[0]?.rolpassword ?? ''
}
