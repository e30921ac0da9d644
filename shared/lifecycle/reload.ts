import { statSync } from 'node:fs'
import type { Fields } from '../config/fields.ts'
import type { ConfigStore } from '../config/store.ts'
import type { Logger } from '../log/logger.ts'
import { interval } from '../time/clock.ts'

// Polled and not watched: fs.watch loses events, and does not see a file swapped behind a symlink.
const LOOK_EVERY_MS = 1000

/** Reloads the settings on SIGHUP and when their file changes; says what came of it. */
export function reloadOnChange<F extends Fields>(config: ConfigStore<F>, log: Logger): Disposable {
  const { file } = config
  const reload = (): void => {
    const { changed, needRestart, warnings, problems } = config.reload()
    for (const warning of warnings) log.warn('setting ignored', { warning })
    for (const problem of problems) log.error('settings not reloaded', { problem })
    if (needRestart.length > 0) log.warn('settings need a restart', { settings: needRestart })
    if (changed.length > 0) log.info('settings changed', { settings: changed })
  }
  process.on('SIGHUP', reload)
  let seen = signature(file)
  const look = (): void => {
    const found = signature(file)
    if (found === seen || found === undefined) return
    seen = found
    reload()
  }
  const looking = file === undefined ? undefined : interval(LOOK_EVERY_MS, look, { ref: false })
  return {
    [Symbol.dispose]() {
      process.off('SIGHUP', reload)
      looking?.[Symbol.dispose]()
    },
  }
}

/** What differs when a file was written or replaced; undefined when it is not there. */
function signature(file: string | undefined): string | undefined {
  const stat = file === undefined ? undefined : statSync(file, { throwIfNoEntry: false })
  return stat === undefined ? undefined : `${stat.ino} ${stat.size} ${stat.mtimeMs}`
}
