// Snapshots for the tests of the analysis: a shard of three in good order, and how to disturb it.
import type { StatusReply } from '../../proto/gen/pooler.ts'
import { position, rule } from '../../shared/consensus/fixtures.ts'
import { parsePolicy } from '../../shared/consensus/durability.ts'
import {
  GUARD_STANDBY_NAMES,
  synchronousStandbyNames,
} from '../../shared/consensus/standby-names.ts'
import type { Rule } from '../../shared/consensus/rule.ts'
import { NO_REVOCATION, type TermRevocation } from '../../shared/consensus/revocation.ts'
import { positionToWire, revocationToWire } from '../../shared/consensus/wire.ts'
import type { MemberSnapshot, Patience, ShardSnapshot } from './snapshot.ts'

/** Ids of the shard's members; the first one leads. */
export const TRIO = ['zone1_p1', 'zone1_p2', 'zone1_p3'] as const

/** Limits that tests count with. */
export const PATIENCE: Patience = {
  bootstrapSettleMs: 2000,
  bootstrapWaitMs: 20_000,
  resumeWaitMs: 1500,
  leaderGoneMs: 5000,
}

/** As its Postgres has it when it leads. */
const namesOf = (id: string, { durability, cohort }: Rule): string =>
  synchronousStandbyNames(
    parsePolicy(durability),
    cohort.map((member) => member.id),
    id,
  )

/** Everybody else in its cohort has all that it has. */
const streamsOf = (id: string, { cohort }: Rule, lsn: bigint): StatusReply['followers'] =>
  cohort
    .filter((member) => member.id !== id)
    .map((member) => ({
      id: member.id,
      state: 'streaming',
      sentLsn: lsn,
      flushLsn: lsn,
      replayLsn: lsn,
      falseFlush: false,
    }))

/** How a member is to look. */
export type Looks = {
  state?: 'primary' | 'standby' | 'stopped' | 'empty' | 'unreachable' | 'frozen'
  /** Streams from this one. */
  follows?: string
  receiver?: string
  decision?: Rule
  proposal?: Rule
  lsn?: bigint
  revocation?: TermRevocation
  incarnation?: string
  systemIdentifier?: string
  serving?: boolean
  action?: string
  /** For how long that runs. */
  runningMs?: number
  diverged?: string
  blocked?: string
  noRoom?: string
  stateNoRoom?: string
  /** Its promotion in this term has begun. */
  promoting?: bigint
  /** Whom it granted last, by its own decision's number. */
  grants?: string
  grantAgeMs?: number
  ageMs?: number
  refusedMs?: number
  live?: boolean
}

const portOf = (id: string): number => 1000 + Number(id.at(-1))

/** One member. Without looks: a standby that follows nobody, by the rule {1,0} of the trio. */
export function member(id: string, looks: Looks = {}): MemberSnapshot {
  const { ageMs = 100, refusedMs = 0, live = true } = looks
  const record = {
    id,
    cell: 'zone1',
    database: 'postgres',
    shard: '0-inf',
    incarnation: `i-${id}`,
    lifecycle: 'active' as const,
    host: 'h',
    grpc: `h:${portOf(id)}`,
    http: 'http://h',
    dataPort: 1,
    socket: '',
    postgresHost: 'h',
    postgresPort: portOf(id),
    updatedAtMs: 0,
  }
  return { id, record, live, status: status(id, looks), ageMs, refusedMs }
}

function status(id: string, looks: Looks): StatusReply {
  const { state = 'standby', decision = rule('1.0', TRIO), proposal, lsn = 100n } = looks
  const answers = state === 'primary' || state === 'standby'
  const known = state !== 'empty'
  return {
    id,
    cell: 'zone1',
    database: 'postgres',
    shard: '0-inf',
    clusterId: 'c',
    incarnation: looks.incarnation ?? `i-${id}`,
    revocation: revocationToWire(looks.revocation ?? NO_REVOCATION),
    recruitBlockedUntil: undefined,
    promoting:
      looks.promoting === undefined
        ? undefined
        : { term: looks.promoting, timeline: Number(looks.promoting) + 1, lsn: 0n },
    position: known ? positionToWire(position(decision, lsn, proposal)) : undefined,
    positionKnown: answers,
    postgres: {
      state: STATES[state],
      pid: answers ? 1 : 0,
      version: '18.4',
      port: portOf(id),
      socketDir: '',
      accepting: answers,
      inRecovery: state === 'standby',
      timeline: 2,
      systemIdentifier: known ? (looks.systemIdentifier ?? '7') : '',
      hasData: known,
      message: '',
      startTime: 0n,
      synchronousStandbyNames: state === 'primary' ? namesOf(id, decision) : GUARD_STANDBY_NAMES,
      host: 'h',
      crash: '',
      crashUnixMs: 0n,
      noRoom: looks.noRoom ?? '',
    },
    serving: { role: 'follower', serving: looks.serving ?? false, reason: '', lagBytes: 0n },
    standby: state === 'standby' ? standby(looks) : undefined,
    followers: state === 'primary' ? streamsOf(id, decision, lsn) : [],
    diverged: looks.diverged ?? '',
    foreign: false,
    action: {
      name: looks.action ?? '',
      detail: '',
      runningMs: looks.runningMs ?? 0,
      lastError: '',
    },
    blocked: looks.blocked ?? '',
    sequence: 1n,
    stateNoRoom: looks.stateNoRoom ?? '',
    grant:
      looks.grants === undefined
        ? undefined
        : { leaderId: looks.grants, rule: decision.number, ageMs: looks.grantAgeMs ?? 0 },
  }
}

const STATES = {
  primary: 'RUNNING',
  standby: 'RUNNING',
  stopped: 'STOPPED',
  empty: 'NOT_INITIALIZED',
  unreachable: 'UNREACHABLE',
  frozen: 'FROZEN',
} as const

function standby({ follows, receiver }: Looks): StatusReply['standby'] {
  return {
    primaryHost: follows === undefined ? '' : 'h',
    primaryPort: follows === undefined ? 0 : portOf(follows),
    receiver: receiver ?? (follows === undefined ? '' : 'streaming'),
    leaderId: follows ?? '',
    receivedLsn: 100n,
    replayedLsn: 100n,
  }
}

/** A shard of these members, whose claim is decided. */
export function shard(
  members: readonly MemberSnapshot[],
  of: Partial<ShardSnapshot> & { durability?: string } = {},
): ShardSnapshot {
  const { durability = 'at_least_2', ...rest } = of
  return {
    self: 'zone1_orch1',
    database: 'postgres',
    shard: '0-inf',
    record: { name: 'postgres', clusterId: 'c', durability, shards: ['0-inf'], cells: ['zone1'] },
    claim: claim('decided'),
    claimKnown: true,
    members,
    settledMs: 60_000,
    ...rest,
  }
}

/** The claim of the trio, with its first member as the first node. */
export function claim(state: 'claimed' | 'decided'): NonNullable<ShardSnapshot['claim']> {
  const incarnations = Object.fromEntries(TRIO.map((id) => [id, `i-${id}`]))
  return { claimer: 'zone1_orch1', first: TRIO[0], incarnations, attempt: 1, state }
}

/** The trio under its leader, with one or the other member looking otherwise. */
export function trio(
  changes: Partial<Record<(typeof TRIO)[number], Looks>> = {},
): MemberSnapshot[] {
  const [leader, ...followers] = TRIO
  return [
    member(leader, { state: 'primary', serving: true, ...changes[leader] }),
    ...followers.map((id) => member(id, { follows: leader, ...changes[id] })),
  ]
}
