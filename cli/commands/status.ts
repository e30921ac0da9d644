// `cluster status`: who leads, who follows and where everything listens.
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { wallTimeMs } from '../../shared/time/clock.ts'
import { messageOf } from '../errors.ts'
import { readCommandFlags } from '../flags.ts'
import { commandHelp } from '../help.ts'
import { clusterPaths, readMarker } from '../local/cluster-dir.ts'
import type { ShardView, StatusView } from '../local/cluster-status.ts'
import { table } from '../local/describe.ts'
import { problemLine, stateLine } from '../local/recovery-view.ts'
import { postgresPassword } from '../local/secrets.ts'
import { progressLine } from '../local/shard-watch-view.ts'
import { DIR_FIELD, JSON_FIELD } from '../local/start-options.ts'
import { isSupervised, findState, type ClusterState } from '../local/state.ts'
import type { Command } from '../main.ts'

/** Nothing runs. */
const NOT_RUNNING: StatusView = { running: false, shards: [], gateways: [], orchs: [] }

const FIELDS = { dir: DIR_FIELD, json: JSON_FIELD }

/** `multigres cluster status`. */
export const command: Command = {
  help: () =>
    commandHelp({
      name: 'cluster status',
      about:
        'Shows each shard with its leader and followers, as their poolers see themselves, and ' +
        'where everything listens. While nobody leads it tells where the failover stands: its ' +
        'phase (waiting, recruiting, promoting, opening), which attempt, since when and why. ' +
        'Where nothing runs it says so: exit code 0.',
      fields: FIELDS,
      examples: [
        ['multigres cluster status', 'a table'],
        ['multigres cluster status --json | jq .shards[0].leader', 'for a script'],
      ],
    }),
  async run(argv) {
    const { values } = readCommandFlags(FIELDS, argv)
    const dir = resolve(values.dir)
    const { view, phase } = await statusOf(dir)
    const text = values.json ? JSON.stringify(view) : forPeople(dir, view, phase)
    process.stdout.write(`${text}\n`)
    return 0
  },
}

/** What `--json` prints of the cluster in `dir`, and how far its start is. @throws RefusedError. */
export async function statusOf(
  dir: string,
): Promise<{ readonly view: StatusView; readonly phase: string | undefined }> {
  const made = readMarker(dir) !== undefined
  const state = made ? await findState(clusterPaths(dir)) : undefined
  const view = isSupervised(state) ? await ask(dir, state) : NOT_RUNNING
  return { view, phase: state?.phase }
}

async function ask(dir: string, state: ClusterState): Promise<StatusView> {
  const { clusterStatus } = await import('../local/cluster-status.ts') // gRPC takes 100 ms to load
  const { secrets } = clusterPaths(dir)
  const file = join(secrets, 'token')
  const token = existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined
  return await clusterStatus(state, { password: knownPassword(secrets), token })
}

/** Without its file the URLs have none: that must not keep anybody from seeing what runs. */
function knownPassword(secrets: string): string {
  try {
    return postgresPassword(secrets)
  } catch (error) {
    process.stderr.write(`multigres: warning: ${messageOf(error)}\n`)
    return ''
  }
}

function forPeople(dir: string, view: StatusView, phase: string | undefined): string {
  if (!view.running) return `${dir}: not running`
  const [gateway] = view.gateways
  const gateways = view.gateways.map(({ id, pid, http }) => [id, show(pid), http, ''])
  const orchs = view.orchs.map(({ id, pid, http, problem }) => [id, show(pid), http, problem ?? ''])
  return [
    `${dir}: ${phase ?? 'unknown'}`,
    ...view.shards.flatMap((shard) => ['', ...shardLines(shard)]),
    '',
    table([['ID', 'PID', 'HTTP', ''], ...gateways, ...orchs]),
    '',
    ...(gateway === undefined ? [] : [`psql "${gateway.url}"`]),
  ].join('\n')
}

function shardLines(shard: ShardView): string[] {
  const rule = shard.rule === null ? 'no rule known' : `rule ${shard.rule}`
  const name = `${shard.database}/${shard.shard}`
  const head = `${name}: ${rule}, ${shard.durability}, leader ${shard.leader ?? 'none'}`
  const { problems, progress, recovery } = shard
  const held = recovery !== null && (recovery.paused || recovery.stopped !== null)
  const notes = [
    ...(progress === null ? [] : [progressLine(progress, wallTimeMs())]),
    ...(held ? [`orchestrators: ${stateLine(recovery)}`] : []),
    ...problems.filter(({ member }) => member !== null).map(problemLine),
  ].map((line) => `  ${line}`)
  const rows = shard.poolers.map(({ id, role, serving, pid, postgres, reason }) => [
    id,
    role,
    serving ? 'yes' : 'no',
    show(pid),
    show(postgres.pid),
    show(postgres.timeline),
    postgres.lsn ?? '-',
    show(postgres.lag_bytes),
    reason,
  ])
  const titles = ['ID', 'ROLE', 'SERVES', 'PID', 'POSTGRES', 'TIMELINE', 'LSN', 'LAG', 'NOTE']
  return [head, ...notes, table([titles, ...rows])]
}

const show = (value: number | null): string => (value === null ? '-' : String(value))
