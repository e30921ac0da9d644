// Writing so that a crash of the machine finds either the old file or the new one, never a part.
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { PgError } from '../../shared/errors/pg-error.ts'
import { giveTo, type RunAs } from '../postgres/run-as.ts'

/** Owner and mode of a file that Postgres's user is to have. */
export interface FileOwner {
  readonly runAs: RunAs
  readonly mode?: number
}

const AT_FDCWD = -100 // fcntl.h
const RENAME_EXCHANGE = 2 // linux/fs.h, since Linux 3.15
const PRIVATE_MODE = 0o600
const TEMPORARY_SUFFIX = '.pgctld-new'

/** Flushes a file's content, or a directory's entries, to the disk. */
export function fsyncPath(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Replaces `path` as a whole: temporary file, fsync, rename, fsync of the folder. */
export function writeDurably(path: string, content: string, owner: FileOwner): void {
  const temporary = path + TEMPORARY_SUFFIX
  try {
    rmSync(temporary, { force: true })
    writeFileSync(temporary, content, { mode: owner.mode ?? PRIVATE_MODE, flag: 'wx', flush: true })
    giveTo(owner.runAs, temporary)
    renameDurably(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

/** `writeDurably`, but only where the content differs. True when it wrote. */
export function keepContent(path: string, content: string, owner: FileOwner): boolean {
  if (existsSync(path) && readFileSync(path, 'utf8') === content) return false
  writeDurably(path, content, owner)
  return true
}

/** Renames within one folder so that it survives a crash. */
export function renameDurably(from: string, to: string): void {
  renameSync(from, to)
  fsyncPath(dirname(to))
}

/**
 * Exchanges two directories of one folder in one step, so that a crash finds either under each
 * name.
 * @throws PgError io_error where the file system cannot.
 */
export function exchangeDurably(one: string, other: string): void {
  const { dlopen, ptr } = require('bun:ffi') as typeof import('bun:ffi')
  const libc = dlopen('libc.so.6', {
    renameat2: { args: ['i32', 'ptr', 'i32', 'ptr', 'u32'], returns: 'i32' },
  } as const)
  const paths = [one, other].map((path) => Buffer.from(`${path}\0`)) // both stay alive until here
  const [first, second] = paths as [Buffer, Buffer]
  const at = AT_FDCWD
  const failed = libc.symbols.renameat2(at, ptr(first), at, ptr(second), RENAME_EXCHANGE) !== 0
  if (failed) throw new PgError('io_error', `cannot exchange ${one} and ${other}`)
  fsyncPath(dirname(other))
}

/** Removes a file so that it stays removed after a crash. No error where it is absent. */
export function removeDurably(path: string): void {
  if (!existsSync(path)) return
  unlinkSync(path)
  fsyncPath(dirname(path))
}
