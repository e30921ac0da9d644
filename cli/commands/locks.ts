// `locks list|show`: who holds which lock, who waits, and how the store under them stands.
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { duration, string } from '../../shared/config/fields.ts'
import type { LockFilter } from '../../shared/locks/lock-info.ts'
import type { LockService } from '../../shared/locks/lock-service.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { RefusedError, UsageError, messageOf } from '../errors.ts'
import { readCommandFlags } from '../flags.ts'
import { commandHelp } from '../help.ts'
import { clusterPaths, readMarker } from '../local/cluster-dir.ts'
import { lockLines, lockView, locksTable } from '../local/lock-view.ts'
import { DIR_FIELD, JSON_FIELD } from '../local/start-options.ts'
import { readState } from '../local/state.ts'
import { storeLines, storeView } from '../local/store-view.ts'
import type { Command } from '../main.ts'

const PLACE_FIELDS = {
  dir: DIR_FIELD,
  topology: string({
    optional: true,
    help: "embedded:PATH or etcd://HOST:PORT,...[/ROOT], in place of the folder's own.",
  }),
}
const LIST_FIELDS = {
  ...PLACE_FIELDS,
  owner: string({ optional: true, help: 'Only those that this client holds.' }),
  prefix: string({ optional: true, help: 'Only those whose name begins so.' }),
  expiringWithin: duration({ optional: true, help: 'Only those that end by then by themselves.' }),
  json: JSON_FIELD,
}
const SHOW_FIELDS = { ...PLACE_FIELDS, lock: string({ help: 'Its name.' }), json: JSON_FIELD }

/** `multigres locks list`. */
export const list: Command = {
  help: () =>
    commandHelp({
      name: 'locks list',
      about:
        'Shows every lock that somebody holds or waits for, all as they were at one moment, and ' +
        'below them the members of the store: their Raft role, term, and how far each has come. ' +
        'A token only grows; of two that believe to hold a lock, the greater one does.',
      fields: LIST_FIELDS,
      examples: [
        ['multigres locks list', 'of the cluster in ./.multigres'],
        ['multigres locks list --topology etcd://10.0.0.1:2379', 'of another place'],
      ],
    }),
  async run(argv) {
    const { values } = readCommandFlags(LIST_FIELDS, argv)
    const spec = topologyOf(values)
    const { owner, prefix, expiringWithin } = values
    const filter: LockFilter = {
      ...(owner === undefined ? {} : { owner }),
      ...(prefix === undefined ? {} : { prefix }),
      ...(expiringWithin === undefined ? {} : { expiringWithinMs: expiringWithin }),
    }
    const [locks, store] = await Promise.all([
      withLocks(spec, async (service) => await Array.fromAsync(service.list(filter))),
      storeOf(spec),
    ])
    if (values.json) print(JSON.stringify({ locks: locks.map(lockView), store: storeView(store) }))
    else print([...locksTable(locks), '', ...storeLines(store)].join('\n'))
    return 0
  },
}

/** `multigres locks show`. */
export const show: Command = {
  help: () =>
    commandHelp({
      name: 'locks show NAME',
      about:
        'Shows one lock: who holds it since when and for how long, its token, what its holder ' +
        'says of itself, and who waits in which place. Exit code 1 when nobody holds it or waits.',
      fields: PLACE_FIELDS,
      more: [['--json', 'Print one JSON object on stdout.']],
      examples: [['multigres locks show shard/postgres/0-inf', 'what a switchover takes']],
    }),
  async run(argv) {
    const { values } = readCommandFlags(SHOW_FIELDS, named(argv))
    const spec = topologyOf(values)
    const info = await withLocks(spec, (service) => service.info(values.lock))
    if (info === undefined) throw new RefusedError(`nobody holds lock "${values.lock}" or waits`)
    print(values.json ? JSON.stringify(lockView(info)) : lockLines(info).join('\n'))
    return 0
  },
}

/** The name stands alone; for the flags' reader it becomes one of them. */
function named(argv: readonly string[]): string[] {
  const at = argv.findIndex((word, index) => {
    const before = argv[index - 1] ?? ''
    return !word.startsWith('--') && !(before.startsWith('--') && takesNext(before))
  })
  const name = argv[at]
  if (name === undefined) {
    throw new UsageError(['which lock? multigres locks show NAME (locks list shows all)'])
  }
  return [...argv.slice(0, at), ...argv.slice(at + 1), `--lock=${name}`]
}

const takesNext = (flag: string): boolean => !flag.includes('=') && flag !== '--json'

function topologyOf({ dir, topology }: { dir: string; topology?: string | undefined }): string {
  if (topology !== undefined) return topology
  const path = resolve(dir)
  if (readMarker(path) === undefined) {
    throw new RefusedError(`${path}: there is no cluster (--dir names one, --topology a store)`)
  }
  const spec = readState(clusterPaths(path).state)?.plan.topology
  if (spec === undefined) throw new RefusedError(`${path}: it was never started`)
  return spec
}

async function withLocks<T>(spec: string, body: (service: LockService) => Promise<T>): Promise<T> {
  const file = spec.startsWith('embedded:') ? spec.slice('embedded:'.length) : undefined
  // Opening it would make a new one.
  if (file !== undefined && !existsSync(file)) throw new RefusedError(`there is no file ${file}`)
  const { connectTopology, TopologyError } = await import('../../shared/topology/topology.ts')
  const { LockService } = await import('../../shared/locks/lock-service.ts')
  try {
    await using topology = await connectTopology(spec, { log: nullLogger })
    await using service = new LockService(topology, { log: nullLogger })
    return await body(service)
  } catch (error) {
    if (error instanceof TopologyError && error.condition === 'invalid') {
      throw new UsageError([messageOf(error)])
    }
    throw new RefusedError(`cannot read the locks in ${spec}: ${messageOf(error)}`, {
      cause: error,
    })
  }
}

async function storeOf(spec: string) {
  const { storeStatus } = await import('../../shared/topology/store-status.ts')
  try {
    return await storeStatus(spec)
  } catch {
    return [] // why is told by whoever reads the locks
  }
}

const print = (text: string): void => void process.stdout.write(`${text}\n`)
