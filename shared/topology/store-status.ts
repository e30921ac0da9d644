// How the store behind a topology stands, member by member: for people and alarms. Nothing decides
// by it.
import { stat } from 'node:fs/promises'
import { wallTimeMs, withDeadline } from '../time/clock.ts'
import type { Etcd3, IMember, IOptions, IStatusResponse } from 'etcd3'
import { parseEtcdSpec, TopologyError } from './topology.ts'

/** One member answers within this time, or counts as not reached. */
const ANSWER_MS = 2000

/** One member of the store. What a store does not tell is undefined, never 0. */
export type StoreMemberStatus = {
  /** As the store calls it. */
  readonly id: string
  readonly name: string
  /** `HOST:PORT`, or the path of the file. */
  readonly address: string
  /** `unknown`: it does not answer, or knows no leader. `single`: there are no others. */
  readonly role: 'leader' | 'follower' | 'learner' | 'single' | 'unknown'
  /** Why it did not answer. */
  readonly problem?: string
  readonly term?: bigint
  /** Whom it takes for the leader. */
  readonly leaderId?: string
  readonly commitIndex?: bigint
  readonly appliedIndex?: bigint
  readonly sizeBytes?: number
  readonly version?: string
  /** What it warns of itself: no space, corrupt data. */
  readonly alarms: readonly string[]
  /** When it answered, by our wall clock. */
  readonly lastActive?: Date
}

/** All members of the store that `spec` names (as connectTopology). @throws TopologyError. */
export async function storeStatus(spec: string): Promise<StoreMemberStatus[]> {
  if (spec.startsWith('embedded:')) return [await fileStatus(spec.slice('embedded:'.length))]
  const { hosts } = parseEtcdSpec(spec)
  const { Etcd3 } = await import('etcd3')
  const clientOf = (host: string): Etcd3 => new Etcd3({ hosts: [host], faultHandling: ONCE })
  const members = await membersOf(hosts, clientOf)
  return await Promise.all(members.map((member) => statusOf(member, clientOf)))
}

async function fileStatus(path: string): Promise<StoreMemberStatus> {
  try {
    const { size } = await stat(path)
    const lastActive = new Date(wallTimeMs())
    const common = { role: 'single', alarms: [], lastActive, sizeBytes: size } as const
    return { id: 'embedded', name: 'embedded', address: path, ...common }
  } catch (error) {
    throw new TopologyError('unavailable', `${path}: ${messageOf(error)}`, { cause: error })
  }
}

/** Every call once: a member that is away is to be seen, not waited for. */
const straight = {
  _altReturn: undefined as never, // a type's trace, never read
  onSuccess: () => ({ dispose() {} }),
  onFailure: () => ({ dispose() {} }),
  async execute<T>(call: (context: { signal: AbortSignal }) => PromiseLike<T> | T) {
    return await call({ signal: new AbortController().signal })
  },
}
const ONCE: NonNullable<IOptions['faultHandling']> = { global: straight, host: () => straight }

type Known = { readonly id: string; readonly name: string; readonly address: string }

/** By any member that answers; without one, those of the spec. */
async function membersOf(
  hosts: readonly string[],
  clientOf: (host: string) => Etcd3,
): Promise<(Known & { readonly learner: boolean })[]> {
  for (const host of hosts) {
    const client = clientOf(host)
    try {
      const { members } = await withDeadline(client.cluster.memberList({}), ANSWER_MS, host)
      return members.map((member) => known(member, hosts))
    } catch {
      // The next one may answer.
    } finally {
      client.close()
    }
  }
  return hosts.map((address) => ({ id: '', name: address, address, learner: false }))
}

function known({ ID, name, clientURLs, isLearner }: IMember, hosts: readonly string[]) {
  const addresses = clientURLs.map((url) => url.replace(/^https?:\/\//, '').replace(/\/$/, ''))
  // Among several addresses the one that we were given is known to lead there.
  const address = addresses.find((one) => hosts.includes(one)) ?? addresses[0] ?? ''
  return { id: hex(ID), name: name || hex(ID), address, learner: isLearner }
}

async function statusOf(
  member: Known & { readonly learner: boolean },
  clientOf: (host: string) => Etcd3,
): Promise<StoreMemberStatus> {
  const { id, name, address, learner } = member
  const silent = { id, name, address, role: 'unknown', alarms: [] } as const
  if (address === '') return { ...silent, problem: 'it has not started yet' }
  const client = clientOf(address)
  try {
    const status = await withDeadline(client.maintenance.status(), ANSWER_MS, address)
    return { ...viewOf(status, learner), name, address }
  } catch (error) {
    return { ...silent, problem: messageOf(error) }
  } finally {
    client.close()
  }
}

function viewOf(status: IStatusResponse, learner: boolean) {
  const { header, leader, raftTerm, raftIndex, raftAppliedIndex, dbSize, version } = status
  const role = leader === header.member_id ? 'leader' : learner ? 'learner' : 'follower'
  return {
    id: hex(header.member_id),
    role: leader === '0' ? ('unknown' as const) : (role as 'leader' | 'learner' | 'follower'),
    term: BigInt(raftTerm),
    ...(leader === '0' ? {} : { leaderId: hex(leader) }),
    commitIndex: BigInt(raftIndex),
    appliedIndex: BigInt(raftAppliedIndex),
    sizeBytes: Number(dbSize),
    version,
    alarms: status.errors ?? [],
    lastActive: new Date(wallTimeMs()),
  }
}

/** As etcdctl shows ids. */
const hex = (id: string): string => BigInt(id).toString(16)

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\s+/g, ' ')
}
