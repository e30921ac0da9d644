// `cluster stop`: asks the supervisor to end its cluster, waits until nothing of it runs, and with
// --clean removes the folder.
import { resolve } from 'node:path'
import { boolean } from '../../shared/config/fields.ts'
import { now, sleep } from '../../shared/time/clock.ts'
import { endEtcd } from '../local/etcd-processes.ts'
import { endPostgres } from '../local/postgres-processes.ts'
import { findAgain, signalProcess } from '../../pgctld/postgres/process.ts'
import { RefusedError } from '../errors.ts'
import { readCommandFlags } from '../flags.ts'
import { commandHelp } from '../help.ts'
import { clusterPaths, readMarker } from '../local/cluster-dir.ts'
import { removeCluster } from '../local/remove.ts'
import { DIR_FIELD, JSON_FIELD } from '../local/start-options.ts'
import { findState, isSupervised, readState, survivors, type ClusterState } from '../local/state.ts'
import type { Command } from '../main.ts'
import { openProgress } from '../progress.ts'

const FIELDS = {
  dir: DIR_FIELD,
  clean: boolean({
    default: false,
    help: 'Remove the folder, with all data, once it has stopped.',
  }),
  json: JSON_FIELD,
}
const POLL_MS = 20
/** More than the supervisor's own deadlines together. */
const STOP_TIMEOUT_MS = 130_000
/** What a process whose supervisor was killed gets to end by itself. */
const ORPHAN_TIMEOUT_MS = 15_000

/** `multigres cluster stop`. */
export const command: Command = {
  help: () =>
    commandHelp({
      name: 'cluster stop',
      about:
        'Stops a cluster in order: clients are let go, then PostgreSQL is shut down. Returns ' +
        'when nothing of it runs. A cluster that is not running is none to stop: exit code 0.',
      fields: FIELDS,
      examples: [
        ['multigres cluster stop', 'data stays, the next start goes on'],
        ['multigres cluster stop --clean', 'nothing stays'],
      ],
    }),
  async run(argv) {
    const { values } = readCommandFlags(FIELDS, argv)
    const dir = resolve(values.dir)
    const marker = readMarker(dir)
    const stopped = marker !== undefined && (await stopCluster(dir))
    const cleaned = values.clean && marker !== undefined
    if (cleaned) removeCluster(dir)
    if (values.json) {
      process.stdout.write(`${JSON.stringify({ dir, running: false, stopped, cleaned })}\n`)
    } else {
      const what = stopped ? 'stopped' : 'was not running'
      process.stderr.write(`${dir}: ${what}${cleaned ? ', removed' : ''}\n`)
    }
    return 0
  },
}

/** Resolves to whether anything ran. */
async function stopCluster(dir: string): Promise<boolean> {
  const paths = clusterPaths(dir)
  const state = await findState(paths)
  const say = openProgress()
  const supervised = isSupervised(state)
  if (supervised) {
    say(`stopping ${state.processes.length} processes`)
    signalProcess(state.supervisor, 'SIGTERM')
    await supervisorGone(dir, state, say)
  }
  const orphans = survivors(readState(paths.state))
  if (orphans.length > 0) await endOrphans(paths.state, say)
  // A Postgres without its pgctld is shut down as that would do it.
  const options = { signal: 'SIGINT', timeoutMs: ORPHAN_TIMEOUT_MS } as const
  const postgres = state !== undefined && (await endPostgres(state.plan, options))
  const etcd = state !== undefined && (await endEtcd(state.plan, ORPHAN_TIMEOUT_MS))
  return supervised || orphans.length > 0 || postgres || etcd
}

async function supervisorGone(
  dir: string,
  { supervisor }: ClusterState,
  say: (text: string) => void,
): Promise<void> {
  const { state: file } = clusterPaths(dir)
  const end = now() + STOP_TIMEOUT_MS
  let told = ''
  while (findAgain(supervisor) !== undefined) {
    const services = new Set(survivors(readState(file)).map(({ service }) => service))
    const left = [...services].join(', ')
    if (left !== '' && left !== told) say(`waiting for ${left}`)
    told = left
    if (now() > end) throw new RefusedError(`process ${supervisor.pid} of ${dir} does not stop`)
    await sleep(POLL_MS)
  }
}

async function endOrphans(file: string, say: (text: string) => void): Promise<void> {
  const state = readState(file)
  const end = now() + ORPHAN_TIMEOUT_MS
  say(`ending ${survivors(state).length} processes whose supervisor is gone`)
  for (const process of survivors(state)) signalProcess(process, 'SIGTERM')
  while (survivors(state).length > 0) {
    if (now() > end) for (const process of survivors(state)) signalProcess(process, 'SIGKILL')
    await sleep(POLL_MS)
  }
}
