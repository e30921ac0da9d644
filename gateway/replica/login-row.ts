import { PgError } from '../../shared/errors/pg-error.ts'
import { withDeadline } from '../../shared/time/clock.ts'
import type { LoginQuestion, LoginRow } from '../poolers/logins.ts'
import type { PoolerLink } from '../poolers/pooler-link.ts'
import { fatal } from '../session/session-errors.ts'
import type { Followers } from './followers.ts'

/** What a login on the port for reads stands on. */
export type ReplicaLogin = {
  readonly leader: PoolerLink | undefined
  readonly followers: Followers
  /** How long a follower is awaited. */
  readonly windowMs: number
  /** How long the leader may take; then a follower is asked. */
  readonly leaderMs: number
}

/**
 * The login row for the port for reads: the leader's, whose word on a password is the newest; a
 * follower's where no leader answers, since reads go on without one.
 * @throws PgError FATAL when no follower can be read from.
 */
export async function replicaLoginRow(
  { leader, followers, windowMs, leaderMs }: ReplicaLogin,
  question: LoginQuestion,
): Promise<LoginRow> {
  const follower = followers.pick(undefined) ?? (await followers.next(windowMs))
  if (follower === undefined) throw fatal('cannot_connect_now', followers.missing())
  if (leader !== undefined) {
    try {
      return await withDeadline(leader.login(question), leaderMs, 'asking the leader')
    } catch (error) {
      if (!(error instanceof PgError)) throw error
    }
  }
  return await follower.login(question)
}
