// Which operating system user Postgres runs as. Postgres refuses root, so a pgctld that was started
// as root gives its root away before every program of Postgres and every file Postgres owns.
import { chownSync, readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { PgError } from '../../shared/errors/pg-error.ts'

/** A user that Postgres's programs run as. `drop`: we are root and have to become it. */
export interface RunAs {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly drop: boolean
}

const PASSWD_FILE = '/etc/passwd'
const ROOT_DEFAULTS = ['postgres', 'nobody'] as const

/**
 * The user to run Postgres as: `wanted`, else for root `postgres` where it exists and `nobody`
 * where it does not, else ourselves.
 * @throws PgError invalid_parameter_value for an unknown user or root, insufficient_privilege for
 * another user than ourselves without being root.
 */
export function resolveRunAs(wanted: string | undefined): RunAs {
  const self = userInfo()
  if (self.uid !== 0) {
    if (wanted === undefined || wanted === self.username || wanted === String(self.uid)) {
      return { name: self.username, uid: self.uid, gid: self.gid, drop: false }
    }
    throw new PgError(
      'insufficient_privilege',
      `only root can run Postgres as another user: run-as is ${wanted}, this is ${self.username}`,
    )
  }
  const names: readonly string[] = wanted === undefined ? ROOT_DEFAULTS : [wanted]
  for (const name of names) {
    const entry = passwdEntry(name)
    if (entry === undefined) continue
    if (entry.uid === 0) {
      throw new PgError(
        'invalid_parameter_value',
        'Postgres refuses to run as root: choose a run-as',
      )
    }
    return { ...entry, drop: true }
  }
  throw new PgError('invalid_parameter_value', `run-as: no user named ${names.join(' or ')}`)
}

/** Gives `path` to Postgres's user where it would otherwise stay root's. Not recursive. */
export function giveTo(runAs: RunAs, path: string): void {
  if (runAs.drop) chownSync(path, runAs.uid, runAs.gid)
}

/** The options that make a spawned child this user, with no group of root's left. */
export function spawnIdentity(runAs: RunAs): { uid?: number; gid?: number } {
  return runAs.drop ? { uid: runAs.uid, gid: runAs.gid } : {}
}

function passwdEntry(name: string): { name: string; uid: number; gid: number } | undefined {
  for (const line of readFileSync(PASSWD_FILE, 'utf8').split('\n')) {
    const [user, , uid, gid] = line.split(':')
    if (user === undefined || uid === undefined || gid === undefined) continue
    if (user === name || uid === name) return { name: user, uid: Number(uid), gid: Number(gid) }
  }
  return undefined
}
