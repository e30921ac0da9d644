// Who may run a cluster's supervisor. The lock is flock(2) on DIR/lock: the kernel releases it with
// its process however that ends, so there is no stale lock to judge.
import { closeSync, openSync } from 'node:fs'
import { dlopen } from 'bun:ffi'

const LOCK_EXCLUSIVE = 2
const LOCK_NONBLOCKING = 4
const OWNER_ONLY = 0o600

/** A held lock; disposing it lets the next one in. */
export type Lock = Disposable

/**
 * Takes the lock, or gives undefined while another process holds it.
 * @throws the system's error where the file cannot be opened.
 */
export function tryLock(path: string): Lock | undefined {
  // Bun opens files close-on-exec, so no child inherits the lock.
  const fd = openSync(path, 'a', OWNER_ONLY)
  if (flock(fd, LOCK_EXCLUSIVE | LOCK_NONBLOCKING) !== 0) {
    closeSync(fd)
    return undefined
  }
  return { [Symbol.dispose]: () => closeSync(fd) }
}

function flock(fd: number, operation: number): number {
  const libc = dlopen('libc.so.6', { flock: { args: ['i32', 'i32'], returns: 'i32' } } as const)
  try {
    return libc.symbols.flock(fd, operation)
  } finally {
    libc.close()
  }
}
