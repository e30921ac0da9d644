// The store's Raft as its members tell it. The locks rest on it, and hold none of their own: what
// etcd does not tell stays undefined, never 0.
import type { StoreMemberStatus } from '../topology/store-status.ts'

/** What a Raft node is; a poll may miss a candidate, which etcd never shows. */
export type NodeRole = 'leader' | 'follower' | 'candidate' | 'learner' | 'unknown'

const NEXT: Readonly<Record<NodeRole, readonly NodeRole[]>> = {
  follower: ['candidate'],
  candidate: ['follower', 'candidate', 'leader'],
  leader: ['leader', 'follower'],
  learner: ['learner', 'follower'],
  unknown: [],
}

/** Whether Raft allows the step from one role to another. */
export function canTransition(from: NodeRole, to: NodeRole): boolean {
  return NEXT[from].includes(to)
}

/** A member as the leader's log sees it. */
export type PeerState = {
  /** What it has applied: a lower bound of what it holds. */
  readonly matchIndex?: bigint
  /** Entries of the leader's log that it has not applied. */
  readonly replicationLag?: bigint
  readonly isActive: boolean
  readonly lastActive?: Date
  readonly lastError?: string
}

/** The store's state as one member sees it. */
export type RaftStatus = {
  /** Empty: nobody answers. */
  readonly id: string
  readonly role: NodeRole
  readonly term?: bigint
  readonly leaderId?: string
  readonly commitIndex?: bigint
  readonly lastApplied?: bigint
  /** A majority answers and agrees on a leader: the store takes writes. */
  readonly hasQuorum: boolean
  readonly replication: ReadonlyMap<string, PeerState>
}

/** Of all members' answers: the leader's view, or that of the furthest one where none leads. */
export function raftStatus(members: readonly StoreMemberStatus[]): RaftStatus {
  const answering = members.filter(({ problem }) => problem === undefined)
  const furthest = answering.toSorted((a, b) => (atOf(a) > atOf(b) ? -1 : 1))[0]
  const self = newest(answering.filter(({ role }) => isLead(role))) ?? furthest
  if (self === undefined)
    return { id: '', role: 'unknown', hasQuorum: false, replication: new Map() }
  const peers = members.filter((member) => member !== self)
  const { term, leaderId, commitIndex, appliedIndex } = self
  return {
    id: self.id,
    role: self.role === 'single' ? 'leader' : self.role,
    ...(term === undefined ? {} : { term }),
    ...(leaderId === undefined ? {} : { leaderId }),
    ...(commitIndex === undefined ? {} : { commitIndex }),
    ...(appliedIndex === undefined ? {} : { lastApplied: appliedIndex }),
    hasQuorum: hasQuorum(members, self),
    replication: new Map(peers.map((peer) => [peer.id || peer.address, peerOf(peer, commitIndex)])),
  }
}

const isLead = (role: StoreMemberStatus['role']): boolean => role === 'leader' || role === 'single'

const atOf = ({ appliedIndex }: StoreMemberStatus): bigint => appliedIndex ?? -1n

/** A deposed leader may still call itself one: the later term counts. */
function newest(leaders: readonly StoreMemberStatus[]): StoreMemberStatus | undefined {
  return leaders.toSorted((a, b) => ((a.term ?? 0n) > (b.term ?? 0n) ? -1 : 1))[0]
}

function hasQuorum(members: readonly StoreMemberStatus[], self: StoreMemberStatus): boolean {
  if (self.role === 'single') return true
  const voters = members.filter(({ role }) => role !== 'learner')
  const leader = self.leaderId
  if (leader === undefined) return false
  const agreeing = voters.filter(({ leaderId, term }) => leaderId === leader && term === self.term)
  return agreeing.length * 2 > voters.length
}

function peerOf(peer: StoreMemberStatus, commitIndex: bigint | undefined): PeerState {
  const { problem, appliedIndex, lastActive } = peer
  const lag =
    commitIndex === undefined || appliedIndex === undefined ? undefined : commitIndex - appliedIndex
  return {
    isActive: problem === undefined,
    ...(problem === undefined ? {} : { lastError: problem }),
    ...(appliedIndex === undefined ? {} : { matchIndex: appliedIndex }),
    ...(lag === undefined ? {} : { replicationLag: lag < 0n ? 0n : lag }),
    ...(lastActive === undefined ? {} : { lastActive }),
  }
}
