// `cluster start`: supervises a cluster in the foreground, has a detached process do so, or shows
// the cluster that runs already.
import { existsSync } from 'node:fs'
import { now, sleep } from '../../shared/time/clock.ts'
import { RefusedError } from '../errors.ts'
import { commandHelp } from '../help.ts'
import { clusterPaths, newMarker, readMarker, writeMarker } from '../local/cluster-dir.ts'
import { connectionHelp, processTable, startView } from '../local/describe.ts'
import { tryLock, type Lock } from '../local/lock.ts'
import { prepareCluster, type PreparedCluster } from '../local/prepare.ts'
import { removeFolder } from '../local/remove.ts'
import { removeOutside } from '../local/postgres-home.ts'
import { readRequest, refuseLastingChanges, refuseOtherFlags } from '../local/request.ts'
import type { StartRequest } from '../local/request.ts'
import { runCluster, type Reporter } from '../local/run-cluster.ts'
import { postgresPassword } from '../local/secrets.ts'
import { START_FIELDS } from '../local/start-options.ts'
import { readState, refuseSecondSupervisor, type ClusterState } from '../local/state.ts'
import type { Command } from '../main.ts'
import { openProgress } from '../progress.ts'
import { listenForEnd, type EndRequests } from '../signals.ts'
import { isDetachedChild, reportToParent, startDetached } from '../local/detach.ts'

const POLL_MS = 50

/** `multigres cluster start`. */
export const command: Command = {
  help: () =>
    commandHelp({
      name: 'cluster start',
      about:
        'Brings up a highly available PostgreSQL on this machine: gateways, poolers, each with ' +
        'its PostgreSQL, and an orchestrator, all under one supervisor. In the foreground Ctrl-C ' +
        'stops them. On a folder that has a cluster, flags that are not given keep their values; ' +
        'where it runs already, it is shown.',
      fields: START_FIELDS,
      more: [
        [
          '--set SERVICE.KEY=VALUE',
          'A setting of all members of a service (pooler.pool_wait_timeout=5s), of one member ' +
            '(zone1_pooler2.pool_size=8), or a line of postgresql.conf (postgres.work_mem=8MB). ' +
            'Repeatable.',
        ],
      ],
      examples: [
        ['multigres cluster start', 'three nodes, in the foreground'],
        ['multigres cluster start --detach --port 0', 'in the background, on free ports'],
        ['multigres cluster start --poolers 1 --json', 'one node, for a script'],
        ['multigres cluster start --topology etcd --cells 3', 'three cells, known to an etcd'],
      ],
    }),
  async run(argv) {
    const end = listenForEnd()
    const request = readRequest(argv)
    if (isDetachedChild()) return await reportToParent((report) => start(request, end, report))
    const say = openProgress()
    const ready = (state: ClusterState): void => {
      say('ready')
      show(request, state)
    }
    if (request.options.detach) {
      const lock = lockIfMade(request)
      lock?.[Symbol.dispose]()
      if (lock !== undefined || request.marker === undefined) {
        await startDetached(argv, { progress: say, stop: end.stop })
        ready(currentState(request))
        return 0
      }
    }
    await start(request, end, { foreground: true, progress: say, ready })
    return 0
  },
}

/** Supervises until asked to end, or reports the cluster that runs already and returns. */
async function start(request: StartRequest, end: EndRequests, report: Reporter): Promise<void> {
  const made = request.marker === undefined
  if (made) writeMarker(request.dir, newMarker({}, []))
  const lock = await lockOrRunning(request, end.stop)
  if (lock === undefined) {
    report.ready(currentState(request))
    return
  }
  using _ = lock
  refuseSecondSupervisor(clusterPaths(request.dir))
  const cluster = await prepare(request, made)
  for (const note of cluster.notes) report.progress(note)
  const { poolers, gateways } = cluster.plan
  const what = `${count(poolers.length, 'pooler')} and ${count(gateways.length, 'gateway')}`
  report.progress(`starting ${what} in ${request.dir}`)
  const { startTimeoutMs } = request.options
  const { options } = request
  await runCluster({ cluster, options, lock, startTimeoutMs, end, report })
  report.progress('stopped')
}

const count = (number: number, what: string): string =>
  `${number} ${what}${number === 1 ? '' : 's'}`

/** A preparation that fails takes a folder that it made away again. */
async function prepare(request: StartRequest, made: boolean): Promise<PreparedCluster> {
  try {
    refuseLastingChanges(request)
    return await prepareCluster(request, readMarker(request.dir))
  } catch (error) {
    if (made) {
      removeOutside(readMarker(request.dir)?.dataRoot)
      removeFolder(request.dir)
    }
    throw error
  }
}

/**
 * The lock; undefined when a cluster with these flags serves already.
 * @throws RefusedError when it has other flags or does not come to serve.
 */
async function lockOrRunning(request: StartRequest, stop: AbortSignal): Promise<Lock | undefined> {
  const paths = clusterPaths(request.dir)
  const giveUpAt = now() + request.options.startTimeoutMs
  for (;;) {
    const lock = tryLock(paths.lock)
    if (lock !== undefined) return lock
    const state = readState(paths.state)
    const marker = readMarker(request.dir)
    if (state !== undefined && marker !== undefined && state.phase !== 'stopping') {
      if (state.phase !== 'stopped') refuseOtherFlags(request, marker)
      if (state.phase === 'ready') return undefined
    }
    if (now() > giveUpAt) {
      const { phase = 'starting', supervisor } = state ?? {}
      throw new RefusedError(`${request.dir} is ${phase} under process ${supervisor?.pid ?? '?'}`)
    }
    await sleep(POLL_MS, stop)
  }
}

/** The lock if nobody holds it; undefined also where the folder does not exist yet. */
function lockIfMade({ dir, marker }: StartRequest): Lock | undefined {
  const { lock } = clusterPaths(dir)
  return marker === undefined || !existsSync(dir) ? undefined : tryLock(lock)
}

function currentState({ dir }: StartRequest): ClusterState {
  const state = readState(clusterPaths(dir).state)
  if (state === undefined) throw new RefusedError(`${dir} has no state.json: its cluster has gone`)
  return state
}

function show({ dir, options }: StartRequest, state: ClusterState): void {
  const password = postgresPassword(clusterPaths(dir).secrets)
  const text = options.json
    ? JSON.stringify(startView(state, password))
    : `\n${processTable(state)}\n\n${connectionHelp(state, password)}\n`
  process.stdout.write(`${text}\n`)
}
