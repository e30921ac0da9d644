// Processes by name and not by number: a pid alone may belong to another program by now, so every
// process is known by its pid together with its start time, and both are checked before a signal.
import { readdirSync, readFileSync } from 'node:fs'
import { kill } from 'node:process' // the one place of pgctld that signals

/** What never changes about a process and is never used twice in one boot. */
export interface ProcessName {
  readonly pid: number
  /** Clock ticks since boot, field 22 of /proc/PID/stat. */
  readonly startTicks: number
}

/** A process as /proc shows it at one moment. */
export interface ProcessView extends ProcessName {
  readonly command: string
  /** One letter: R, S, D, T (stopped by a signal), Z (zombie), X. */
  readonly state: string
  readonly parent: number
}

const STATE = 0 // fields after the command, which stands in parentheses and may hold any byte
const PARENT = 1
const START_TICKS = 19

/**
 * A process as it is now; undefined when it is gone. A zombie is gone: it only awaits its parent.
 */
export function viewProcess(pid: number): ProcessView | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return undefined
  }
  const open = stat.indexOf('(')
  const close = stat.lastIndexOf(')')
  const fields = stat.slice(close + 2).split(' ')
  const state = fields[STATE] ?? 'X'
  if (state === 'Z' || state === 'X') return undefined
  return {
    pid,
    startTicks: Number(fields[START_TICKS]),
    command: stat.slice(open + 1, close),
    state,
    parent: Number(fields[PARENT]),
  }
}

/** The same process, if it still lives. */
export function findAgain(name: ProcessName): ProcessView | undefined {
  const view = viewProcess(name.pid)
  return view?.startTicks === name.startTicks ? view : undefined
}

/** Sends `signal` if this very process still lives; false when it does not. */
export function signalProcess(name: ProcessName, signal: NodeJS.Signals): boolean {
  if (findAgain(name) === undefined) return false
  try {
    kill(name.pid, signal)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}

/** Its title or arguments; '' where they cannot be read. */
export function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
  } catch {
    return ''
  }
}

/** Every process there is now, zombies apart. */
export function* allProcesses(): Generator<ProcessView> {
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const view = viewProcess(Number(name))
    if (view !== undefined) yield view
  }
}
