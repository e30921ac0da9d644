// Whether stdin is a supervisor's pipe, whose end means that the supervisor has gone.
//
// Environment variables are inherited by everything below, stdin is not: a script that runs under
// a supervisor may start a service, or the command line, with an stdin that ends at once. So the
// variable says who holds the pipe, and counts for the children of that one only.
import { fstatSync } from 'node:fs'

/** Set by whoever holds our stdin: its pid. `1` says so without a name. */
export const SUPERVISED = 'MULTIGRES_SUPERVISED'
const STDIN_FD = 0
const ANYBODY = '1'

/** What `supervisedBy` looks at; the process's own by default. */
export interface Surroundings {
  readonly parent: number
  /** Whether stdin is something that its other side can close. */
  readonly pipe: boolean
  readonly alive: (pid: number) => boolean
}

/** Whether the end of stdin is the end of our supervisor. */
export function isSupervised(
  env: Readonly<Record<string, string | undefined>>,
  around: Surroundings = surroundings(),
): boolean {
  const holder = env[SUPERVISED]
  if (holder === undefined || holder === '' || !around.pipe) return false
  if (holder === ANYBODY || Number(holder) === around.parent) return true
  // One that has died already is no parent any more, and the end of the pipe says so.
  return !around.alive(Number(holder))
}

function surroundings(): Surroundings {
  return { parent: process.ppid, pipe: stdinIsPipe(), alive }
}

/** Node and Bun make a pair of sockets of a `pipe`; a shell makes a FIFO. */
function stdinIsPipe(): boolean {
  try {
    const stat = fstatSync(STDIN_FD)
    return stat.isFIFO() || stat.isSocket()
  } catch {
    return false // closed: nobody can end it any more
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
