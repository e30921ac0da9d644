// DATADIR.lock: at most one pgctld, service or command, works on a data directory. The lock is the
// kernel's (flock), so it ends with its holder however that dies; the text in the file only tells
// who holds it and where its gRPC answers, and is trusted only while that very process lives.
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'
import { pid as ownPid } from 'node:process'
import { PgError } from '../shared/errors/pg-error.ts'
import { findAgain, viewProcess, type ProcessName } from './postgres/process.ts'

/** Who holds a lock. `grpc`: host:port of a service; '' for a command, or while it starts. */
export type LockHolder = ProcessName & { readonly grpc: string }

/** A lock that is held until disposed. */
export interface HeldLock extends Disposable {
  /** Tells others where to reach the holder. */
  announce(grpc: string): void
}

/** `held` has what was gained, `holder` who was there first (unknown for a moment at its start). */
export type LockResult =
  | { readonly held: HeldLock }
  | { readonly held?: undefined; readonly holder: LockHolder | undefined }

const LOCK_EX = 2 // sys/file.h
const LOCK_NB = 4
const MODE = 0o600

/**
 * Takes the lock of `dataDir` unless somebody has it.
 * @throws PgError insufficient_privilege when the file cannot be opened.
 */
export function takeLock(dataDir: string): LockResult {
  const path = `${dataDir}.lock`
  const fd = openLockFile(path)
  if (!flock(fd)) {
    closeSync(fd)
    return { holder: readHolder(path) }
  }
  const announce = (grpc: string): void => {
    const name = viewProcess(ownPid)
    const holder = { pid: ownPid, startTicks: name?.startTicks ?? 0, grpc }
    ftruncateSync(fd, 0)
    writeSync(fd, `${JSON.stringify(holder)}\n`, 0)
  }
  announce('')
  const release = () => {
    ftruncateSync(fd, 0) // the file stays: removing it could remove a successor's lock
    closeSync(fd)
  }
  return { held: { announce, [Symbol.dispose]: release } }
}

function openLockFile(path: string): number {
  try {
    return openSync(path, 'a+', MODE)
  } catch (cause) {
    throw new PgError('insufficient_privilege', `cannot open ${path}: ${String(cause)}`, { cause })
  }
}

function readHolder(path: string): LockHolder | undefined {
  try {
    const holder = JSON.parse(readFileSync(path, 'utf8')) as LockHolder
    return findAgain(holder) === undefined ? undefined : holder
  } catch {
    return undefined // empty or half written: its holder has only just come
  }
}

/** True when the lock is ours. Descriptors are closed on exec, so no child inherits it. */
function flock(fd: number): boolean {
  const { dlopen } = require('bun:ffi') as typeof import('bun:ffi')
  const libc = dlopen('libc.so.6', { flock: { args: ['i32', 'i32'], returns: 'i32' } } as const)
  return libc.symbols.flock(fd, LOCK_EX | LOCK_NB) === 0
}
