// Who may run a cluster's supervisor. The lock is flock(2) on DIR/lock: the kernel releases it with
// its process however that ends, so there is no stale lock to judge.
import { closeSync, existsSync, fstatSync, openSync, readFileSync, statSync } from 'node:fs'
import { dlopen } from 'bun:ffi'

const LOCK_EXCLUSIVE = 2
const LOCK_NONBLOCKING = 4
const OWNER_ONLY = 0o600

/** A held lock; disposing it lets the next one in. */
export interface Lock extends Disposable {
  /** Takes it again where somebody removed its file: the one that we hold keeps nobody out then. */
  keep(): void
}

/**
 * Takes the lock, or gives undefined while another process holds it.
 * @throws the system's error where the file cannot be opened.
 */
export function tryLock(path: string): Lock | undefined {
  const first = lockFile(path)
  if (first === undefined) return undefined
  let fd = first
  const keep = (): void => {
    if (statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino) return
    const anew = lockFile(path)
    if (anew === undefined) return
    closeSync(fd)
    fd = anew
  }
  return { keep, [Symbol.dispose]: () => closeSync(fd) }
}

function lockFile(path: string): number | undefined {
  // Bun opens files close-on-exec, so no child inherits the lock.
  const fd = openSync(path, 'a', OWNER_ONLY)
  if (flock(fd, LOCK_EXCLUSIVE | LOCK_NONBLOCKING) !== 0) {
    closeSync(fd)
    return undefined
  }
  return fd
}

/** In words, the process that holds the lock; undefined while nobody does. */
export function lockHolder(path: string): string | undefined {
  if (!existsSync(path)) return undefined
  const lock = tryLock(path)
  if (lock === undefined) return nameHolder(statSync(path, { throwIfNoEntry: false })?.ino)
  lock[Symbol.dispose]()
  return undefined
}

/** By the kernel's table, whose lines are `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF`. */
function nameHolder(inode: number | undefined): string {
  const fields = readFileSync('/proc/locks', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
  const ours = fields.find(
    ([, kind, , , , file]) => kind === 'FLOCK' && file?.split(':').at(-1) === String(inode),
  )
  return ours?.[4] === undefined ? 'a process' : `process ${ours[4]}`
}

function flock(fd: number, operation: number): number {
  const libc = dlopen('libc.so.6', { flock: { args: ['i32', 'i32'], returns: 'i32' } } as const)
  try {
    return libc.symbols.flock(fd, operation)
  } finally {
    libc.close()
  }
}
