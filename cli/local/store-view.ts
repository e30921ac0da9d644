// The members of a topology's store, to a script (JSON, snake_case) and to a person.
import { raftStatus } from '../../shared/locks/raft-status.ts'
import type { StoreMemberStatus } from '../../shared/topology/store-status.ts'
import { table } from './describe.ts'

/** What `locks list --json` prints of the store. What it does not tell is null. */
export function storeView(members: readonly StoreMemberStatus[]) {
  const { id, role, term, leaderId, commitIndex, lastApplied, hasQuorum } = raftStatus(members)
  return {
    raft: {
      id,
      role,
      term: numeral(term),
      leader_id: leaderId ?? null,
      commit_index: numeral(commitIndex),
      last_applied: numeral(lastApplied),
      has_quorum: hasQuorum,
    },
    members: members.map((member) => ({
      id: member.id,
      name: member.name,
      address: member.address,
      role: member.role,
      problem: member.problem ?? null,
      term: numeral(member.term),
      leader_id: member.leaderId ?? null,
      commit_index: numeral(member.commitIndex),
      applied_index: numeral(member.appliedIndex),
      size_bytes: member.sizeBytes ?? null,
      version: member.version ?? null,
      alarms: member.alarms,
      last_active: member.lastActive?.toISOString() ?? null,
    })),
  }
}

/** A line for each, and whether the store takes writes. */
export function storeLines(members: readonly StoreMemberStatus[]): string[] {
  const { hasQuorum, leaderId, replication } = raftStatus(members)
  const [only] = members
  if (only?.role === 'single') return [`store: the file ${only.address}, ${only.sizeBytes} bytes`]
  const leader = members.find(({ id }) => id !== '' && id === leaderId)?.name ?? 'nobody'
  const head = hasQuorum ? `${leader} leads, it takes writes` : 'no quorum: it takes no writes'
  const rows = members.map((member) => [
    member.name,
    member.address,
    member.role,
    String(member.term ?? '-'),
    String(member.appliedIndex ?? '-'),
    String(replication.get(member.id)?.replicationLag ?? (member.role === 'leader' ? 0 : '-')),
    String(member.sizeBytes ?? '-'),
    [member.problem ?? '', ...member.alarms].filter((text) => text !== '').join('; '),
  ])
  const titles = ['MEMBER', 'ADDRESS', 'ROLE', 'TERM', 'APPLIED', 'BEHIND', 'BYTES', 'NOTE']
  return [`store: ${head}`, table([titles, ...rows])]
}

/** As text: a 64-bit number is more than JSON holds. */
const numeral = (value: bigint | undefined): string | null =>
  value === undefined ? null : String(value)
