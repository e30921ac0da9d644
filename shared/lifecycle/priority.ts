// How soon this process gets its turn on a machine with too much to do. A leader asks for grants
// five times a second and loses its lease when one takes longer than that lasts; on two cores with
// eight busy programs a process that used next to nothing waited for 1.3 s until it ran.
import { setPriority } from 'node:os'
import type { Logger } from '../log/logger.ts'

/** Takes the nice value `nice` (-20 first, 19 last), as far as the system lets it. */
export function takePriority(nice: number, log: Logger): void {
  if (nice === 0) return
  try {
    setPriority(nice)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : error
    log.debug('the priority stays as it is', { nice, code })
  }
}
