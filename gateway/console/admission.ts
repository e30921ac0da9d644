import { PgError } from '../../shared/errors/pg-error.ts'
import { fatal } from '../session/session-errors.ts'

/** Who may use the console besides superusers. */
export type ConsoleUsers = {
  readonly adminUsers: readonly string[]
  readonly statsUsers: readonly string[]
}

/** What a login row says that counts here. */
type Role = {
  readonly found: boolean
  readonly canLogin: boolean
  readonly superuser: boolean
}

/**
 * Whether somebody who has proven who it is may do all (true), or only look (false).
 * @throws PgError, FATAL, for everybody else.
 */
export function mayAdminister(user: string, role: Role, users: ConsoleUsers): boolean {
  if (!role.found) {
    throw fatal('invalid_authorization_specification', `role "${user}" does not exist`)
  }
  if (!role.canLogin) {
    throw fatal('invalid_authorization_specification', `role "${user}" is not permitted to log in`)
  }
  if (role.superuser || users.adminUsers.includes(user)) return true
  if (users.statsUsers.includes(user)) return false
  throw new PgError('insufficient_privilege', `user "${user}" may not use the admin console`, {
    severity: 'FATAL',
    hint: 'Superusers may, and whom admin_users and stats_users of the gateway name.',
  })
}
