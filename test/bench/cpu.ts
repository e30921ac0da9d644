import { readFileSync, writeFileSync } from 'node:fs'

/** The kernel's USER_HZ, which is 100 on every Linux that Bun runs on. Source: proc(5). */
const TICKS_PER_SECOND = 100

/** CPU seconds (user and system) that the processes have used since they started. */
export function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // Fields are counted behind the command's name, which may hold spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks / TICKS_PER_SECOND
}

/** Resident memory of the processes in bytes. */
export function residentBytes(pids: readonly number[]): number {
  return pids.reduce((bytes, pid) => bytes + statusBytes(pid, 'VmRSS'), 0)
}

/** Forgets the most that the processes have ever held: from here it counts anew. */
export function resetPeak(pids: readonly number[]): void {
  for (const pid of pids) writeFileSync(`/proc/${pid}/clear_refs`, '5')
}

/** The most resident memory of each process since `resetPeak`. */
export function peakBytes(pids: readonly number[]): number[] {
  return pids.map((pid) => statusBytes(pid, 'VmHWM'))
}

function statusBytes(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1] ?? 0) * 1024
}
