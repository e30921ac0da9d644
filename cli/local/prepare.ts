// Everything between the flags and the first process: the folder, secrets, Postgres, ports, the
// plan. Complaints that need no cluster to be found are all made here.
import { join, resolve } from 'node:path'
import { RefusedError } from '../errors.ts'
import {
  clusterPaths,
  newMarker,
  readMarker,
  refuseForeignOwner,
  writeMarker,
  type ClusterPaths,
} from './cluster-dir.ts'
import type { Marker } from './cluster-dir.ts'
import { makeFolders } from './folders.ts'
import { memberIds, planCluster, portSlots, type ClusterPlan } from './plan.ts'
import { choosePorts, type PortSlot, type Ports } from './ports.ts'
import { openToPostgres, preparePostgres, refuseOtherMajor } from './postgres-home.ts'
import { DEFAULT_PASSWORD, makeSecrets, postgresPassword, type TlsFiles } from './secrets.ts'
import { parseSettings, type Setting } from './settings.ts'
import { shortEnough } from './socket-dir.ts'
import { processSpecs, type ProcessSpec } from './specs.ts'
import { checkServices } from './check-services.ts'
import type { Seat, StartOptions } from './start-options.ts'

/** A cluster that is ready to be started. */
export interface PreparedCluster {
  readonly paths: ClusterPaths
  readonly plan: ClusterPlan
  readonly specs: readonly ProcessSpec[]
  readonly password: string
  /** Lines that a person should read. */
  readonly notes: readonly string[]
  /** The same cluster with other poolers; nothing is written yet. @throws RefusedError. */
  reseat(seats: readonly Seat[]): Reseated
}

/** A cluster with one pooler more, or one less. */
export interface Reseated {
  readonly plan: ClusterPlan
  readonly specs: readonly ProcessSpec[]
  /** Makes folders that are missing, and has the next start find the same members. */
  readonly keep: (nextSeat: number) => void
}

/** What a start was asked for. */
export interface Request {
  readonly options: StartOptions
  readonly sets: readonly string[]
  /** Flags to remember, as texts by external name. */
  readonly flags: Readonly<Record<string, string>>
}

const LOOPBACKS = new Set(['127.0.0.1', '::1', 'localhost'])

/** The settings of a request. @throws UsageError. */
export function settingsOf({ options, sets }: Request): Setting[] {
  const ids = Object.values(memberIds(options)).flatMap((members) => members.map(({ id }) => id))
  return parseSettings(sets, ids)
}

/**
 * Makes a request's folder and everything in it that its processes need. The caller holds the
 * folder's lock. `marker` is what the folder had before.
 * @throws UsageError, RefusedError.
 */
export async function prepareCluster(
  request: Request,
  marker: Marker | undefined,
): Promise<PreparedCluster> {
  const { options } = request
  const paths = clusterPaths(resolve(options.dir))
  refuseForeignOwner(paths.dir)
  const settings = settingsOf(request)
  const etcd = findEtcd(options.topology)
  const home = await preparePostgres(options.postgres, paths)
  const ports = choosePorts(portSlots(options, settings), marker?.ports ?? {})
  const { dataRoot } = home
  const data = dataRoot ?? paths.poolers
  makeSecrets(paths.secrets, { passwordFile: options.passwordFile, dataRoot: data })
  const password = postgresPassword(paths.secrets)
  refuseOpenDefault(options, password, paths)
  const runDir = shortEnough(paths.run, 'run')
  const postgresRunDir = dataRoot === undefined ? runDir : shortEnough(join(dataRoot, 'run'), 'pg')
  const { clusterId } = marker ?? newMarker({}, [])
  const tls = await tlsFiles(options, paths)
  const build = (seated: StartOptions, chosen: Ports) => {
    const plan = planCluster({
      options: seated,
      paths,
      clusterId,
      ports: chosen,
      dataRoot: data,
      runDir,
      postgresRunDir,
      ...(tls?.ca === undefined ? {} : { sslRootCert: tls.ca }),
    })
    const specs = processSpecs({
      plan,
      paths,
      settings,
      poolSize: options.poolSize,
      binDir: home.binDir,
      ...(home.runAs.drop ? { runAs: home.runAs.name } : {}),
      ...(tls === undefined ? {} : { tls }),
      ...(etcd === undefined ? {} : { etcd }),
    })
    return { plan, specs }
  }
  const { plan, specs } = build(options, ports)
  await checkServices(specs)
  refuseOtherMajor(
    home,
    plan.poolers.map(({ pgctld }) => pgctld.dataDir),
  )
  openToPostgres(paths, home)
  makeFolders(paths, plan, home.runAs)
  const remembered = dataRoot === undefined ? {} : { dataRoot }
  const { flags, sets } = request
  const seated = marker?.seats === undefined ? {} : { seats: marker.seats }
  const next = marker?.nextSeat === undefined ? {} : { nextSeat: marker.nextSeat }
  const kept = { ...newMarker(flags, sets), clusterId, ports, ...remembered, ...seated, ...next }
  writeMarker(paths.dir, kept)
  const reseat = (seats: readonly Seat[]): Reseated => {
    const others = { ...options, seats, poolers: seats.length }
    const chosen = addPorts(portSlots(others, settings), readMarker(paths.dir)?.ports ?? ports)
    const built = build(others, chosen)
    return {
      ...built,
      keep: (nextSeat) => {
        makeFolders(paths, built.plan, home.runAs)
        const poolers = String(seats.length)
        const known = readMarker(paths.dir)?.flags ?? kept.flags // some change while it runs
        writeMarker(paths.dir, {
          ...kept,
          flags: { ...known, poolers },
          ports: chosen,
          seats,
          nextSeat,
        })
      },
    }
  }
  return {
    paths,
    plan,
    specs,
    password,
    notes: home.note === undefined ? [] : [home.note],
    reseat,
  }
}

/** Those that run keep theirs; a new member's are chosen. @throws as `choosePorts`. */
function addPorts(slots: readonly PortSlot[], present: Ports): Ports {
  const fresh = slots.filter(({ name }) => present[name] === undefined)
  return { ...present, ...choosePorts(fresh, {}) }
}

function findEtcd(topology: string): string | undefined {
  if (topology !== 'etcd') return undefined
  const program = Bun.which('etcd')
  if (program !== null) return program
  throw new RefusedError('--topology etcd: there is no program etcd in PATH')
}

function refuseOpenDefault(options: StartOptions, password: string, paths: ClusterPaths): void {
  if (LOOPBACKS.has(options.listen) || password !== DEFAULT_PASSWORD) return
  throw new RefusedError(
    `--listen ${options.listen} would open a cluster whose password is the default: start a new ` +
      `one with --password-file FILE (this one's is in ${paths.secrets})`,
  )
}

async function tlsFiles(
  { tls, listen }: StartOptions,
  paths: ClusterPaths,
): Promise<TlsFiles | undefined> {
  if (tls === 'off') return undefined
  if (tls === 'auto') {
    const { makeCertificates } = await import('./certificates.ts') // 60 ms to load
    return await makeCertificates(paths.secrets, listen)
  }
  const [cert = '', key = ''] = tls.split(',')
  return { cert: resolve(cert), key: resolve(key) }
}
