// The status that orch watches: everything that it decides by, and nothing that it could misread as
// newer than it is.
import { State } from '../../proto/gen/pgctld.ts'
import type { FollowerStatus, PostgresStatus, StatusReply } from '../../proto/gen/pooler.ts'
import { NO_REVOCATION } from '../../shared/consensus/revocation.ts'
import { positionToWire, revocationToWire } from '../../shared/consensus/wire.ts'
import { now } from '../../shared/time/clock.ts'
import { type Follower, isFalseFlush } from '../replication/view.ts'
import type { Member } from './member.ts'
import { whyNoRoomForData, whyNoRoomForState } from './room.ts'

/** Addresses that only the configuration knows. */
export type AdvertisedPostgres = { readonly host: string; readonly port: number }

/**
 * What is known of this member now, with the last look's age hidden in nothing: looks are frequent.
 */
export function statusOf(member: Member, advertised: AdvertisedPostgres): StatusReply {
  const { identity, seen, position, promises } = member
  const { promoting, recruitBlockedUntil, revocation } = promises?.state ?? {}
  const { role, serving, reason, lagBytes } = member.serving.current
  return {
    id: identity.id,
    cell: identity.cell,
    database: identity.database,
    shard: identity.shard,
    clusterId: member.clusterId ?? '',
    incarnation: promises?.state.incarnation ?? '',
    revocation: revocationToWire(revocation ?? NO_REVOCATION),
    recruitBlockedUntil,
    promoting: promoting && {
      term: promoting.term,
      timeline: promoting.timeline,
      lsn: promoting.lsn,
    },
    position: position && positionToWire(position),
    positionKnown: seen.standing !== undefined,
    postgres: postgresOf(member, advertised),
    serving: { role, serving, reason, lagBytes: BigInt(lagBytes) },
    standby: standbyOf(member),
    followers: seen.view?.followers.map(followerOf) ?? [],
    diverged: member.diverged,
    foreign: member.foreign,
    action: actionOf(member),
    blocked: member.blocked ?? '',
    sequence: member.sequence,
    grant: grantOf(member),
    stateNoRoom: whyNoRoomForState(identity.stateDir),
  }
}

function grantOf({ given }: Member): StatusReply['grant'] {
  if (given === undefined) return undefined
  const { leaderId, rule, atMs } = given
  return { leaderId, rule, ageMs: Math.round(now() - atMs) }
}

function postgresOf({ seen, hasData }: Member, advertised: AdvertisedPostgres): PostgresStatus {
  const { pg, pgctldError, standing, view, sqlError } = seen
  return {
    state: pgctldError === '' ? (pg?.state ?? State.STATE_UNSPECIFIED) : 'UNREACHABLE',
    pid: pg?.pid ?? 0,
    version: pg?.version ?? '',
    port: advertised.port || (pg?.port ?? 0),
    socketDir: pg?.socketDir ?? '',
    accepting: standing !== undefined,
    inRecovery: standing?.inRecovery ?? pg?.inRecovery ?? false,
    timeline: view?.timeline || (pg?.timeline ?? 0),
    systemIdentifier: pg?.systemIdentifier ?? '',
    hasData,
    message: pgctldError || sqlError || (pg?.message ?? ''),
    startTime: pg?.postmasterStartTime ?? 0n,
    synchronousStandbyNames: view?.standbyNames ?? '',
    host: advertised.host,
    crash: pg?.crash ?? '',
    crashUnixMs: pg?.crashUnixMs ?? 0n,
    noRoom: whyNoRoomForData(pg?.freeBytes),
  }
}

function standbyOf({ seen, proven }: Member): StatusReply['standby'] {
  const { standing, view } = seen
  if (standing?.inRecovery !== true || view === undefined) return undefined
  return {
    primaryHost: view.primary?.host ?? '',
    primaryPort: view.primary?.port ?? 0,
    receiver: view.receiver,
    leaderId: proven?.leaderId ?? '',
    receivedLsn: view.receivedLsn,
    replayedLsn: view.replayedLsn,
  }
}

function followerOf(follower: Follower): FollowerStatus {
  const { id, state, sentLsn, flushLsn, replayLsn } = follower
  return { id, state, sentLsn, flushLsn, replayLsn, falseFlush: isFalseFlush(follower) }
}

function actionOf(member: Member): NonNullable<StatusReply['action']> {
  const { lock, actionMs, handsOverUntilMs } = member
  return {
    name: lock.current?.name ?? (now() < handsOverUntilMs ? 'resign' : ''),
    detail: lock.current?.detail ?? '',
    runningMs: actionMs,
    lastError: lock.lastError,
  }
}
