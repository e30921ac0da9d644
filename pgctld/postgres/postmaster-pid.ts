// DATADIR/postmaster.pid, which the postmaster writes for its own kind and for pg_ctl.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Its lines. Source: miscadmin.h, "LOCK_FILE_LINE". */
export interface PostmasterPid {
  /** Of the postmaster, or of a standalone backend (`--single`), which writes it negated. */
  readonly pid: number
  readonly standalone: boolean
  readonly dataDir: string
  /** Seconds since the epoch. */
  readonly startedAt: number
  readonly port: number | undefined
  readonly socketDir: string
  readonly status: 'starting' | 'stopping' | 'ready' | 'standby' | 'unknown'
}

const STATUSES = ['starting', 'stopping', 'ready', 'standby'] as const

/** Reads it; undefined where there is none, or none with a pid yet. */
export function readPostmasterPid(dataDir: string): PostmasterPid | undefined {
  let text: string
  try {
    text = readFileSync(join(dataDir, 'postmaster.pid'), 'utf8')
  } catch {
    return undefined
  }
  return parsePostmasterPid(text)
}

/** Parses its text; undefined when the first line is no pid. */
export function parsePostmasterPid(text: string): PostmasterPid | undefined {
  const [pid = '', dataDir = '', started = '', port = '', socketDir = '', , , status = ''] =
    text.split('\n')
  const number = Number.parseInt(pid, 10)
  if (Number.isNaN(number) || number === 0) return undefined
  return {
    pid: Math.abs(number),
    standalone: number < 0,
    dataDir,
    startedAt: Number(started),
    port: port === '' ? undefined : Number(port),
    socketDir,
    status: STATUSES.find((known) => known === status.trim()) ?? 'unknown',
  }
}
