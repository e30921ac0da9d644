// One round of Recruit: everybody is asked at once, whatever their health, and after every answer
// the pure part says whether a leader can be appointed. Goes on with the first answer that allows
// it, after a short wait for those that were about to answer: a member that is left out by a moment
// finds itself behind a fork.
import {
  buildSafeProposal,
  type Recruit,
  type Proposal,
} from '../../shared/consensus/safe-proposal.ts'
import {
  buildCertifiedProposal,
  type Certification,
} from '../../shared/consensus/certified-proposal.ts'
import type { Position } from '../../shared/consensus/position.ts'
import type { TermRevocation } from '../../shared/consensus/revocation.ts'
import {
  positionFromWire,
  revocationFromWire,
  revocationToWire,
} from '../../shared/consensus/wire.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { callUnary } from '../../shared/rpc/client.ts'
import { now, timer, wallTimeMs } from '../../shared/time/clock.ts'
import type { Callee } from '../act/shard-context.ts'
import { isSilent, type MemberSnapshot } from '../analyze/snapshot.ts'

const RECRUIT_TIMEOUT_MS = 30_000
const LINGER_MS = 1000
/** Nothing else is done to the shard meanwhile: who is silent gets its chance in a newer term. */
const SILENT_MS = 3000

/** What a round is about. */
export type RoundOptions = {
  readonly revocation: TermRevocation
  readonly callees: readonly Callee[]
  readonly first: string | undefined
  readonly preferred: string | undefined
  /** An operator's word that too many are lost; undefined: nothing but what is safe. */
  readonly certified?: Certification | undefined
}

/** A rule that may be written, and who was recruited for it. */
export type Recruited = {
  readonly proposal: Extract<Proposal, { kind: 'ready' }>
  readonly recruits: readonly Recruit[]
  /** Who led by the outgoing rules answers no client any more, nor does anybody before them. */
  readonly predecessorFenced: boolean
  /** How long ago, at least, any of the recruits last granted anything, as of the call. */
  readonly grantAgeMs: () => number
}

/** @throws PgError object_not_in_prerequisite_state saying why no leader can be appointed. */
export async function recruitRound(options: RoundOptions): Promise<Recruited> {
  const { callees } = options
  const round = new Round(options)
  const calls = callees.map((callee) => round.ask(callee))
  void Promise.all(calls).then(() => round.end())
  await round.over
  const proposal = round.propose()
  if (proposal.kind === 'ready') {
    const predecessorFenced = round.isFenced(proposal.outgoing)
    const grantAgeMs = (): number => round.grantAgeMs()
    return { proposal, recruits: round.recruits, predecessorFenced, grantAgeMs }
  }
  const failures = [...round.failures].map(([id, why]) => `${id}: ${why}`).join('; ')
  throw new PgError(
    'object_not_in_prerequisite_state',
    `no leader for term ${options.revocation.revokedBelowTerm}: ${proposal.reason}` +
      (failures === '' ? '' : ` (${failures})`),
  )
}

/** Its pooler is heard of and its Postgres answers: a recruitment needs both. */
function mayAnswer(member: MemberSnapshot | undefined): boolean {
  if (member === undefined || isSilent(member)) return false
  return member.status?.postgres?.accepting === true && member.status.postgres.state !== 'FROZEN'
}

class Round {
  readonly recruits: Recruit[] = []
  readonly failures = new Map<string, string>()
  readonly #openedTerms = new Map<string, bigint>()
  /** When, at the latest, each of the recruits last granted anything, by our clock. */
  readonly #grantedMs: number[] = []
  readonly #options: RoundOptions
  readonly #over = Promise.withResolvers<void>()
  /** Members that could be recruited when it began, as far as heard, and have not answered yet. */
  readonly #awaited: Set<string>
  #linger: Disposable | undefined

  constructor(options: RoundOptions) {
    this.#options = options
    const able = options.callees.filter(({ member }) => mayAnswer(member))
    this.#awaited = new Set(able.map(({ id }) => id))
  }

  get over(): Promise<void> {
    return this.#over.promise
  }

  end(): void {
    this.#linger?.[Symbol.dispose]()
    this.#over.resolve()
  }

  propose(): Proposal {
    const { revocation, first, preferred, certified } = this.#options
    const nowUnixMs = BigInt(Math.round(wallTimeMs()))
    const answers = { revocation, recruits: this.recruits, first, preferred, nowUnixMs }
    return certified === undefined
      ? buildSafeProposal(answers)
      : buildCertifiedProposal(answers, certified)
  }

  /**
   * Who was recruited answers no client any more. Whoever led before the decision was waited for
   * only if the decision's leader did begin to answer.
   */
  isFenced({ decision, proposal }: Position): boolean {
    const recruited = (id: string): boolean => this.recruits.some((recruit) => recruit.id === id)
    if (proposal !== undefined && !recruited(proposal.leaderId)) return false
    const { leaderId, number } = decision
    if (leaderId === '') return true
    return recruited(leaderId) && this.#openedTerms.get(leaderId) === number.coordinatorTerm
  }

  /** Everybody's last grant counts: whose lease it kept is not asked. */
  grantAgeMs(): number {
    return Math.max(0, Math.floor(now() - Math.max(...this.#grantedMs)))
  }

  /** Never rejects. */
  async ask({ id, client, header }: Callee): Promise<void> {
    const revocation = revocationToWire(this.#options.revocation)
    try {
      const request = { header, revocation }
      const reply = await callUnary(client, 'recruit', request, { timeoutMs: RECRUIT_TIMEOUT_MS })
      if (reply.position === undefined) throw new Error('it told no position')
      this.#openedTerms.set(id, reply.openedTerm)
      this.#grantedMs.push(now() - reply.grantAgeMs)
      this.recruits.push({
        id,
        incarnation: reply.incarnation,
        position: positionFromWire(reply.position),
        revocation: revocationFromWire(reply.revocation),
        noRoom: reply.noRoom !== '',
      })
    } catch (error) {
      this.failures.set(id, error instanceof Error ? error.message : String(error))
    }
    this.#awaited.delete(id)
    const { kind } = this.propose()
    // Whoever was not heard of lately is not waited for, but for a moment if it is needed.
    if (kind === 'stale' || (kind === 'ready' && this.#awaited.size === 0)) this.end()
    else if (kind === 'ready') this.#linger ??= timer(LINGER_MS, () => this.end())
    else if (this.#awaited.size === 0) this.#linger ??= timer(SILENT_MS, () => this.end())
  }
}
