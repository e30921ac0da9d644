// What a test starts and leaves must be found, whatever session, user or environment it has. So the
// runner is the "child subreaper": what loses its parent becomes its child and not that of process
// 1, and after the tests everything below the runner is a leftover. Source: prctl(2).
import { readdirSync, readFileSync } from 'node:fs'

const PR_SET_CHILD_SUBREAPER = 36
const WNOHANG = 1

/** A process that a test started and left. */
export interface Leftover {
  pid: number
  command: string
}

interface Process {
  pid: number
  parent: number
  zombie: boolean
}

/** Makes this process the parent of every orphan below it. */
export class Subreaper {
  readonly #waitpid: (pid: number) => void

  constructor() {
    const { dlopen } = require('bun:ffi') as typeof import('bun:ffi')
    const { symbols } = dlopen('libc.so.6', {
      prctl: { args: ['i32', 'u64', 'u64', 'u64', 'u64'], returns: 'i32' },
      waitpid: { args: ['i32', 'ptr', 'i32'], returns: 'i32' },
    } as const)
    symbols.prctl(PR_SET_CHILD_SUBREAPER, 1n, 0n, 0n, 0n)
    this.#waitpid = (pid) => void symbols.waitpid(pid, null, WNOHANG)
  }

  /** Lets orphans that ended go; `own` are children that somebody else waits for. */
  reap(own: ReadonlySet<number>): void {
    for (const { pid, parent, zombie } of allProcesses()) {
      if (zombie && parent === process.pid && !own.has(pid)) this.#waitpid(pid)
    }
  }
}

/** What runs below this process, zombies aside. */
export function findLeftovers(): Leftover[] {
  const all = allProcesses()
  const below = new Set([process.pid])
  for (let size = 0; size !== below.size;) {
    size = below.size
    for (const { pid, parent } of all) if (below.has(parent)) below.add(pid)
  }
  below.delete(process.pid)
  const alive = all.filter(({ pid, zombie }) => below.has(pid) && !zombie)
  return alive.map(({ pid }) => ({
    pid,
    command: read(pid, 'cmdline').replaceAll('\0', ' ').trim(),
  }))
}

function allProcesses(): Process[] {
  return readdirSync('/proc').flatMap((name) => {
    const pid = Number(name)
    const stat = Number.isInteger(pid) ? read(pid, 'stat') : ''
    if (stat === '') return []
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return [{ pid, parent: Number(parent), zombie: state === 'Z' || state === 'X' }]
  })
}

function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return '' // ended meanwhile
  }
}
