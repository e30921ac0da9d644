import { readdirSync, readFileSync } from 'node:fs'

/** The variable that every process of a test run inherits. */
export const RUN_MARK = 'MULTIGRES_TEST_RUN'

/** A process that a test started and left. */
export interface Leftover {
  pid: number
  command: string
}

/** Processes that carry `mark` in their environment, this one and zombies aside. */
export function findLeftovers(mark: string): Leftover[] {
  const leftovers: Leftover[] = []
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid) || pid === process.pid) continue
    const environment = read(pid, 'environ').split('\0')
    if (!environment.includes(`${RUN_MARK}=${mark}`)) continue
    const command = read(pid, 'cmdline').replaceAll('\0', ' ').trim()
    if (command !== '') leftovers.push({ pid, command })
  }
  return leftovers
}

function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return '' // ended meanwhile, or another user's
  }
}
