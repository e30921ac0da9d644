// postgresql.auto.conf: what the cluster decided about this server (primary_conninfo, the sync
// list). Postgres reads it last, and it travels through a crash: the sync list must stand in it
// before any start, so it is written whole and flushed.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PgError } from '../../shared/errors/pg-error.ts'
import { keepContent } from '../files/durable.ts'
import type { RunAs } from '../postgres/run-as.ts'
import { changeSettings } from './conf-text.ts'
import { MANAGED_BY_RPC, whyOwned } from './settings-we-own.ts'

const FILE = 'postgresql.auto.conf'

/**
 * Sets each of `settings` in DATADIR/postgresql.auto.conf (`''` removes its line), leaving all
 * other lines. True when the file changed.
 * @throws PgError invalid_parameter_value for a bad name or value, or a setting of the command
 * line.
 */
export function changeAutoConf(
  dataDir: string,
  settings: Readonly<Record<string, string>>,
  runAs: RunAs,
): boolean {
  for (const name of Object.keys(settings)) {
    const managed = MANAGED_BY_RPC.some((known) => known === name.toLowerCase())
    const why = managed ? undefined : whyOwned(name)
    if (why !== undefined) {
      throw new PgError('invalid_parameter_value', `${name} cannot be changed: ${why}`)
    }
  }
  if (Object.keys(settings).length === 0) return false
  const path = join(dataDir, FILE)
  const before = existsSync(path) ? readFileSync(path, 'utf8') : ''
  return keepContent(path, changeSettings(before, settings), { runAs })
}
