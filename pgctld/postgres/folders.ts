// The folders that Postgres's user needs: it must be able to enter all that lie above, and to write
// into the one of its socket.
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { PgError } from '../../shared/errors/pg-error.ts'
import { giveTo, type RunAs } from './run-as.ts'

const WRITE = 2
const ENTER = 1
const PRIVATE = 0o700

/**
 * Proves that Postgres's user can enter every existing folder above `path`.
 * @throws PgError insufficient_privilege naming the first that it cannot.
 */
export function requireReachable(path: string, runAs: RunAs): void {
  const above: string[] = []
  for (let dir = dirname(path); ; dir = dirname(dir)) {
    above.unshift(dir)
    if (dir === dirname(dir)) break
  }
  for (const dir of above) {
    if (!existsSync(dir)) return
    if (!may(dir, ENTER, runAs)) {
      const why = `user ${runAs.name} cannot enter ${dir}`
      throw new PgError('insufficient_privilege', `${why}, which is above ${path}`)
    }
  }
}

/**
 * Makes the socket's folder: 0700 and Postgres's own, because the socket asks for no password. An
 * empty one that is root's is taken over; any other must be writable by Postgres's user.
 * @throws PgError insufficient_privilege naming it.
 */
export function prepareSocketDir(socketDir: string, runAs: RunAs): void {
  requireReachable(socketDir, runAs)
  const fresh = !existsSync(socketDir)
  if (fresh) mkdirSync(socketDir, { recursive: true, mode: PRIVATE })
  if (
    fresh ||
    (runAs.drop && statSync(socketDir).uid === 0 && readdirSync(socketDir).length === 0)
  ) {
    chmodSync(socketDir, PRIVATE)
    giveTo(runAs, socketDir)
  }
  if (!may(socketDir, WRITE | ENTER, runAs)) {
    const why = `user ${runAs.name} cannot write into ${socketDir}`
    throw new PgError('insufficient_privilege', `${why}, where Postgres's socket is to be`)
  }
}

/** By owner, group and mode; a plain user's own kernel check comes on use. */
function may(dir: string, wanted: number, runAs: RunAs): boolean {
  const stat = statSync(dir)
  const shift = stat.uid === runAs.uid ? 6 : stat.gid === runAs.gid ? 3 : 0
  return ((stat.mode >> shift) & wanted) === wanted
}
