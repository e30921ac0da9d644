// The pooler's gRPC service for orch: checks who is meant, reads the message, runs the action.
import { PoolerService, SetPrimaryReply_Outcome as Outcome } from '../../proto/gen/pooler.ts'
import type {
  CloneFromRequest,
  GrantReply,
  GrantRequest,
  InitializeShardRequest,
  PromoteRequest,
  RecruitReply,
  ResignReply,
  ResignRequest,
  RecruitRequest,
  RepairRequest,
  SetPrimaryReply,
  SetPrimaryRequest,
  StatusReply,
  StatusRequest,
  UpdateConsensusRuleRequest,
} from '../../proto/gen/pooler.ts'
import type { CallHeader } from '../../proto/gen/consensus.ts'
import {
  numberFromWire,
  positionToWire,
  revocationFromWire,
  revocationToWire,
  ruleFromWire,
} from '../../shared/consensus/wire.ts'
import { UNSET_NUMBER } from '../../shared/consensus/rule.ts'
import { type RpcServer, serverStream, unary } from '../../shared/rpc/server.ts'
import { timer } from '../../shared/time/clock.ts'
import { changeRule } from './change-rule.ts'
import { cloneFrom, type CloneOrder } from './clone.ts'
import { follow, type Followed } from './follow.ts'
import { grant, grantAgeMs } from './grants.ts'
import { checkHeader } from './header.ts'
import { initialize } from './initialize.ts'
import type { Member } from './member.ts'
import { promote } from './promote.ts'
import { recruit } from './recruit.ts'
import { repair } from './repair.ts'
import { resign } from './resign.ts'
import { whyNoRoomForData } from './room.ts'

/** What the service needs besides the member. */
export type ServiceOptions = {
  readonly member: Member
  readonly status: () => StatusReply
  readonly statusIntervalMs: () => number
  readonly secrets: { read(name: string): Promise<string | undefined> }
}

/** Adds it to `server`. */
export function addPoolerService(server: RpcServer, options: ServiceOptions): void {
  const { member, status, secrets } = options
  const check = (header: CallHeader | undefined): void => checkHeader(member, header)
  server.add(PoolerService, {
    recruit: unary(async ({ header, revocation }: RecruitRequest): Promise<RecruitReply> => {
      check(header)
      const recruited = await recruit(member, revocationFromWire(revocation))
      return {
        incarnation: member.promises?.state.incarnation ?? '',
        position: positionToWire(recruited.position),
        revocation: revocationToWire(recruited.revocation),
        openedTerm: member.openedTerm,
        grantAgeMs: grantAgeMs(member),
        noRoom: whyNoRoomForData(member.seen.pg?.freeBytes),
      }
    }),
    promote: unary(async (request: PromoteRequest): Promise<StatusReply> => {
      check(request.header)
      await promote(member, {
        revocation: revocationFromWire(request.revocation),
        rule: ruleFromWire(request.rule),
        outgoing: {
          decision: ruleFromWire(request.outgoingDecision),
          proposal: request.outgoingProposal && ruleFromWire(request.outgoingProposal),
        },
        reason: request.reason,
        accepted: request.accepted,
        predecessorFenced: request.predecessorFenced,
        grantAgeMs: request.grantAgeMs,
        certified: request.certified,
      })
      return status()
    }),
    setPrimary: unary(async (request: SetPrimaryRequest): Promise<SetPrimaryReply> => {
      const { header, leaderId, host, port } = request
      check(header)
      const { decided = UNSET_NUMBER } = request
      const rule = ruleFromWire(request.rule)
      return outcomeOf(await follow(member, { rule, leaderId, host, port, decided }))
    }),
    initializeShard: unary(async (request: InitializeShardRequest): Promise<StatusReply> => {
      const { header, durability, leaseMs } = request
      check(header)
      // Without a secret file, as on a developer's machine: the documented default.
      const postgresPassword = (await secrets.read('postgres.password')) ?? 'postgres'
      const replicationPassword = await secrets.read('replication.password')
      await initialize(member, { durability, leaseMs, postgresPassword, replicationPassword })
      return status()
    }),
    cloneFrom: unary(async (request: CloneFromRequest): Promise<StatusReply> => {
      const { header, sourceId, host, port, replace, decided } = request
      check(header)
      const rule = ruleFromWire(request.rule)
      await beginClone(member, { rule, sourceId, host, port, replace, decided })
      return status()
    }),
    resign: unary(async ({ header, rule, drainMs }: ResignRequest): Promise<ResignReply> => {
      check(header)
      return await resign(member, { rule: numberFromWire(rule), drainMs })
    }),
    repair: unary(async ({ header, copy, by }: RepairRequest): Promise<StatusReply> => {
      check(header)
      await repair(member, { copy, by })
      return status()
    }),
    updateConsensusRule: unary(
      async (request: UpdateConsensusRuleRequest): Promise<StatusReply> => {
        check(request.header)
        const { reason } = request
        const expected = numberFromWire(request.expected)
        await changeRule(member, { expected, rule: ruleFromWire(request.rule), reason })
        return status()
      },
    ),
    grant: unary(async ({ header, rule, leaderId }: GrantRequest): Promise<GrantReply> => {
      check(header)
      const reason = grant(member, { rule: numberFromWire(rule), leaderId })
      return { granted: reason === undefined, reason: reason ?? '' }
    }),
    status: unary(async ({ header }: StatusRequest): Promise<StatusReply> => {
      if (header !== undefined) check(header)
      return status()
    }),
    watchStatus: serverStream(({ header }: StatusRequest, { signal }) => {
      if (header !== undefined) check(header)
      return watch(options, signal)
    }),
  })
}

/** A clone outlasts any call: answers once it has begun, or with why it does not. */
async function beginClone(member: Member, order: CloneOrder): Promise<void> {
  const begun = Promise.withResolvers<void>()
  const running = cloneFrom(member, order, begun.resolve)
  running.catch((error: unknown) => member.log.warn('not cloned', { error }))
  await Promise.race([begun.promise, running])
}

function outcomeOf(followed: Followed): SetPrimaryReply {
  if (followed.outcome === 'following') return { outcome: Outcome.FOLLOWING, reason: '' }
  const outcome = followed.outcome === 'foreign' ? Outcome.FOREIGN : Outcome.DIVERGED
  return { outcome, reason: followed.reason }
}

/** A status at once, on every change, and at least every interval. */
async function* watch(
  { member, status, statusIntervalMs }: ServiceOptions,
  signal: AbortSignal,
): AsyncGenerator<StatusReply> {
  let wake = Promise.withResolvers<void>()
  using _listener = member.onChange(() => wake.resolve())
  const stop = (): void => wake.resolve()
  signal.addEventListener('abort', stop, { once: true })
  try {
    while (!signal.aborted) {
      wake = Promise.withResolvers()
      yield status()
      using _timer = timer(statusIntervalMs(), () => wake.resolve())
      await wake.promise
    }
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
