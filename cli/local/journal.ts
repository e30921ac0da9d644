import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { createLogger, type Logger } from '../../shared/log/logger.ts'
import type { ClusterPaths } from './cluster-dir.ts'

const OWNER_ONLY = 0o600

/** Where it lies. */
export const journalFile = ({ logs }: ClusterPaths): string => join(logs, 'supervisor.log')

/** The supervisor's log in `path`, opened anew for each line: rotation may have renamed it. */
export function openJournal(path: string): Logger {
  const write = (line: string): void => {
    try {
      appendFileSync(path, line, { mode: OWNER_ONLY })
    } catch {
      // A full disk, or the folder is gone: supervision goes on without its log.
    }
  }
  const sink = { write, flush: () => {} }
  return createLogger({ service: 'supervisor', id: 'supervisor', level: 'info', sink })
}
