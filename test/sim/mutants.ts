// Planted bugs: each is an edit of real code, or of a stand-in where the real code is SQL. The
// simulator has to find every one of them.
import { RASH } from './cluster/nemesis.ts'
import type { Edit } from './loader.ts'

/** A planted bug. */
export type Mutant = {
  readonly name: string
  readonly edits: readonly Edit[]
  /** Faults in place of the usual mixture, where only few of them matter. */
  readonly faults?: readonly (readonly [name: string, weight: number])[]
  /** A story in place of random faults. */
  readonly script?: string
  /** Found by then. */
  readonly seedsMax: number
  /** The first seed that finds it, as the code is now: a first look begins a little before it. */
  readonly foundAt: number
}

const PROOF = 'pooler/replication/prefix-proof.ts'
const RULES = 'test/sim/fakes/rule-store.ts'
const FILE = 'test/sim/fakes/promise-file.ts'
const PGCTLD = 'test/sim/fakes/pgctld-client.ts'
const FOLLOW = 'pooler/term/follow.ts'
const PROMOTE = 'pooler/term/promote.ts'
const RECRUIT = 'pooler/term/recruit.ts'
const CLONE = 'pooler/term/clone.ts'
const STANDBY = 'pooler/term/run-standby.ts'
const LEASE = 'pooler/term/lease.ts'
const KEEPER = 'pooler/term/lease-keeper.ts'
const STANDING = 'pooler/term/standing.ts'
const OPENING = 'pooler/term/opening.ts'
const SAFE = 'shared/consensus/safe-proposal.ts'
const ACT = 'orch/act/clone.ts'
const ROUND = 'orch/rule/recruit-round.ts'

const FROM_A_FOLLOWER = `const other = context.snapshot().members.find(
    ({ id, status }) => id !== order.member && status?.standby?.receiver === 'streaming',
  )
  order = { ...order, source: other?.id ?? order.source }
  const { address } = context.callee(order.source)`

/** All of them. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: 'LSN by COALESCE instead of the greater',
    edits: [{ file: RULES, from: 'Math.max(received ?? 0, replayed)', to: 'received ?? replayed' }],
    script: 'a follower asks for a stream when its leader dies',
    seedsMax: 1500,
    foundAt: 7,
  },
  {
    name: 'no prefix proof',
    edits: [
      {
        file: PROOF,
        from: 'if (own.timeline === leader.timeline) {',
        to: 'if (own.timeline > 0) return undefined\n  if (own.timeline === leader.timeline) {',
      },
    ],
    faults: [
      ['isolate a busy one', 4],
      ['slow network', 2],
      ['kill postgres', 2],
      ['storm', 1],
    ],
    seedsMax: 1500,
    foundAt: 21,
  },
  {
    name: 'shared timeline',
    edits: [
      {
        file: PGCTLD,
        from: 'postgres.promote(timeline)',
        to: 'postgres.promote(postgres.data.timeline + 1)',
      },
      { file: PGCTLD, from: 'return requireTimeline(', to: 'return void (' },
      {
        file: PROMOTE,
        from: 'seen.view.timeline === timelineOf(rule)',
        to: 'timelineOf(rule) > 0',
      },
      {
        file: FOLLOW,
        from: 'return Number(rule.number.coordinatorTerm) + 1',
        to: 'return rule.number.coordinatorTerm === 0n ? 1 : 2',
      },
      {
        file: FOLLOW,
        from: 'view.receivedTimeline === timelineOf(order.rule)',
        to: 'view.receivedTimeline >= timelineOf(order.rule)',
      },
    ],
    seedsMax: 1500,
    foundAt: 14,
  },
  {
    name: 'promise after reply',
    edits: [
      {
        file: RECRUIT,
        from: 'await promises.update({ revocation })',
        to: 'void untilQuiet(member.session, deadline).then(() => promises.update({ revocation }))',
      },
    ],
    seedsMax: 1500,
    foundAt: 1,
  },
  {
    name: 'lease from receipt',
    edits: [
      {
        file: KEEPER,
        from: 'lease.granted(id, rule, asked)',
        to: 'lease.granted(id, rule, instant())',
      },
    ],
    script: 'grants arrive late',
    seedsMax: 3000,
    foundAt: 3,
  },
  {
    name: 'lease by timer',
    edits: [
      {
        file: LEASE,
        from: 'return this.#since !== undefined && elapsedMs(this.#since) < this.#lengthMs',
        to: 'return true',
      },
    ],
    faults: RASH,
    seedsMax: 3000,
    foundAt: 6,
  },
  {
    name: 'no own lease',
    edits: [
      { file: STANDING, from: 'if (!input.leaseHolds)', to: 'if (input.id === "")' },
      {
        file: LEASE,
        from: 'if (this.#endless) return true',
        to: 'if (this.#lengthMs >= 0) return true',
      },
    ],
    faults: RASH,
    seedsMax: 3000,
    foundAt: 6,
  },
  {
    name: 'lease length differing',
    edits: [{ file: LEASE, from: 'Math.min(...rules.map(({ leaseMs }) => leaseMs))', to: '4000' }],
    faults: RASH,
    seedsMax: 3000,
    foundAt: 6,
  },
  {
    name: 'list set late',
    edits: [
      {
        file: STANDBY,
        from: 'synchronous_standby_names: GUARD_STANDBY_NAMES',
        to: "synchronous_standby_names: ''",
      },
      {
        file: PROMOTE,
        from: "if (names !== '' && at.seen.view.standbyNames === '')",
        to: "if (names === 'x')",
      },
      {
        file: 'pooler/term/maintain.ts',
        from: "seen.view.standbyNames === ''",
        to: "seen.view.standbyNames === 'x'",
      },
    ],
    seedsMax: 1500,
    foundAt: 1,
  },
  {
    name: 'no floor after a clone of a follower',
    edits: [
      {
        file: CLONE,
        from: 'if (floor !== undefined) await promises.update({ recruitBlockedUntil: floor })',
        to: 'void floor, promises',
      },
      {
        file: ACT,
        from: 'const { address } = context.callee(order.source)',
        to: FROM_A_FOLLOWER,
      },
    ],
    script: 'a member is copied anew',
    seedsMax: 3000,
    foundAt: 7,
  },
  {
    name: 'a floor is lifted from a copy, too',
    edits: [
      {
        file: 'pooler/term/wal-floor.ts',
        from: 'return isBack(floor, position) || isOldData(floor, seen)',
        to: 'return position.lsn > 0n',
      },
      {
        file: ACT,
        from: 'const { address } = context.callee(order.source)',
        to: FROM_A_FOLLOWER,
      },
    ],
    script: 'a member is copied anew',
    seedsMax: 3000,
    foundAt: 1,
  },
  {
    name: 'clone from a follower',
    edits: [
      {
        file: ACT,
        from: 'const { address } = context.callee(order.source)',
        to: FROM_A_FOLLOWER,
      },
    ],
    script: 'a member is copied anew',
    seedsMax: 3000,
    foundAt: 15,
  },
  {
    name: 'lost promise file is made anew',
    edits: [
      {
        file: FILE,
        from: 'const { promises } = node',
        to: "const promises = node.promises ?? ({ incarnation: `i-${node.id}`, revocation: { revokedBelowTerm: 0n, coordinatorId: '', coordinatorInitiatedUnixMs: 0n, outgoingRule: { coordinatorTerm: 0n, leaderSubterm: 0n } }, recruitBlockedUntil: undefined, promoting: undefined, opened: undefined } as PromiseState)\n    node.promises = promises",
      },
    ],
    script: 'a promise is lost',
    seedsMax: 3000,
    foundAt: 8,
  },
  {
    name: 'compare-and-set dropped',
    edits: [
      {
        file: RULES,
        from: 'if (!as) throw moved(`the decision',
        to: 'if (decision === undefined) throw moved(`the decision',
      },
      {
        file: RULES,
        from: 'if (!as || !sameRule(proposal, rule)) throw',
        to: 'if (rule === undefined) throw',
      },
      { file: PROMOTE, from: 'requirePosition(member, order, seen)\n', to: '\n' },
      { file: PROMOTE, from: 'requireOwnAppointment(member, order)\n', to: '\n' },
      { file: PROMOTE, from: 'else requireMarker(member, order, seen)', to: '' },
    ],
    script: 'old orders arrive again',
    seedsMax: 3000,
    foundAt: 13,
  },
  {
    name: 'decide without the incoming quorum',
    edits: [
      {
        file: PROMOTE,
        from: 'const rules = quorums([...outgoing.filter((other) => !sameRule(other, rule)), rule])',
        to: 'const rules: Rule[] = []',
      },
      {
        file: PROMOTE,
        from: 'await untilFlushed(member, { lsn, rules: [rule] }, deadline)',
        to: 'void lsn',
      },
    ],
    seedsMax: 3000,
    foundAt: 1,
  },
  {
    name: 'decided without the outgoing quorum',
    edits: [
      {
        file: SAFE,
        from: 'return result.sufficient ? undefined : result.reason',
        to: 'return result.sufficient || ids.length > 0 ? undefined : result.reason',
      },
    ],
    faults: [
      ['storm', 4],
      ['split', 4],
      ['isolate a busy one', 4],
    ],
    seedsMax: 1500,
    foundAt: 232,
  },
  {
    name: 'a change of the rule without the quorum of the rule before it',
    edits: [
      {
        file: 'pooler/term/change-rule.ts',
        from: 'const rules = [outgoing, incoming]',
        to: 'const rules = [incoming]',
      },
    ],
    seedsMax: 3000,
    foundAt: 859,
  },
  {
    name: 'a promise does not hold against a rule that is not decided',
    edits: [
      {
        file: FOLLOW,
        from: 'const isDecided = compareNumbers(decided, rule.number) >= 0',
        to: 'const isDecided = compareNumbers(decided, rule.number) >= -1',
      },
    ],
    script: 'a promise is met by the order to follow another',
    seedsMax: 3000,
    foundAt: 147,
  },
  {
    name: 'opening counted as fenced though the predecessor had not opened',
    edits: [
      {
        file: ROUND,
        from: 'return recruited(leaderId) && this.#openedTerms.get(leaderId) === number.coordinatorTerm',
        to: 'return recruited(leaderId) && number.coordinatorTerm >= 0n',
      },
    ],
    script: 'a leader that has not opened is replaced',
    seedsMax: 6000,
    foundAt: 1,
  },
  {
    name: 'a wait that began with the oldest of the last grants',
    edits: [
      { file: ROUND, from: 'Math.max(...this.#grantedMs)', to: 'Math.min(...this.#grantedMs)' },
    ],
    faults: RASH,
    seedsMax: 3000,
    foundAt: 10,
  },
  {
    name: 'a new leader opens at once',
    edits: [
      { file: OPENING, from: 'if (opened === term) return 0', to: 'if (opened >= 0n) return 0' },
    ],
    faults: RASH,
    seedsMax: 3000,
    foundAt: 13,
  },
]
