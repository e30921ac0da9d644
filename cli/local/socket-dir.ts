import { createHash } from 'node:crypto'
import { chmodSync, lstatSync, mkdirSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { RefusedError } from '../errors.ts'

/** The kernel takes 107 bytes; Postgres's `.lock` beside the socket needs some of them. */
const SOCKET_PATH_BYTES_MAX = 100
/** The longest that follows: a member's id, `-pg`, and a socket's name. */
const LONGEST_MEMBER = '/zone64_gateway64-pg/.s.PGSQL.65535'
const HASH_CHARS = 12

/**
 * `wanted`, or a folder in the temporary directory where socket paths in it would be too long.
 * `purpose` keeps two folders of one cluster apart.
 */
export function shortEnough(wanted: string, purpose: string): string {
  if (Buffer.byteLength(wanted + LONGEST_MEMBER) <= SOCKET_PATH_BYTES_MAX) return wanted
  const hash = createHash('sha256').update(wanted).digest('hex').slice(0, HASH_CHARS)
  return join(tmpdir(), `mg-${userInfo().uid}-${hash}-${purpose}`)
}

/** Makes a folder of ours. One that another user made first, as in /tmp, is refused. */
export function makeOwnDir(dir: string, mode: number): void {
  mkdirSync(dir, { recursive: true, mode })
  const stat = lstatSync(dir)
  if (!stat.isDirectory() || stat.uid !== userInfo().uid) {
    throw new RefusedError(`${dir} belongs to another user`)
  }
  chmodSync(dir, mode)
}
