// Whom a coordinator could appoint at this moment: each set of members that it may reach, by the
// rules that it goes by itself.
import { possiblyUndecided } from '../../../shared/consensus/position.ts'
import { compareNumbers, UNSET_NUMBER } from '../../../shared/consensus/rule.ts'
import { buildSafeProposal, type Recruit } from '../../../shared/consensus/safe-proposal.ts'
import { lsnOf, type WalRecord } from '../postgres/wal.ts'
import type { NodeParts } from '../world/here.ts'

type Candidate = { readonly node: NodeParts; readonly recruit: Omit<Recruit, 'revocation'> }

/** A leader that some recruitment would appoint and that does not hold `record`, if any. */
export function leaderWithout(
  record: WalRecord,
  nodes: readonly NodeParts[],
): { readonly id: string; readonly recruits: string } | undefined {
  const candidates = nodes.flatMap((node) => candidate(node) ?? [])
  for (let set = 1; set < 1 << candidates.length; set += 1) {
    const recruits = candidates.filter((_, index) => ((set >> index) & 1) === 1)
    const id = leaderOf(recruits, nodes[0]?.id)
    const disk = recruits.find(({ node }) => node.id === id)?.node.postgres.disk
    if (id === undefined || disk?.wal[record.at] === record) continue
    return { id, recruits: recruits.map(({ node }) => node.id).join(', ') }
  }
  return undefined
}

/** Who cannot be recruited, or not before it has regained what it lost, is none. */
function candidate(node: NodeParts): Candidate | undefined {
  const { id, promises, postgres } = node
  const { disk } = postgres
  const last = disk?.wal.at(-1)
  if (promises === undefined || disk === undefined || last === undefined) return undefined
  if (promises.recruitBlockedUntil !== undefined) return undefined
  const position = { ...last.row, lsn: lsnOf(disk.wal.length), timeline: disk.timeline }
  return { node, recruit: { id, incarnation: promises.incarnation, position } }
}

function leaderOf(recruits: readonly Candidate[], first: string | undefined): string | undefined {
  const outgoingRule = recruits
    .map(({ recruit }) => possiblyUndecided(recruit.position).number)
    .reduce((a, b) => (compareNumbers(a, b) < 0 ? b : a), UNSET_NUMBER)
  const revocation = {
    revokedBelowTerm: outgoingRule.coordinatorTerm + 1n,
    coordinatorId: 'judge',
    coordinatorInitiatedUnixMs: 1n,
    outgoingRule,
  }
  const proposal = buildSafeProposal({
    revocation,
    recruits: recruits.map(({ recruit }) => ({ ...recruit, revocation })),
    first,
    nowUnixMs: 1n,
  })
  return proposal.kind === 'ready' ? proposal.rule.leaderId : undefined
}
