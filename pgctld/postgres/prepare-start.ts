// What must be true of a data directory before a postmaster is started in it.
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { PgError } from '../../shared/errors/pg-error.ts'
import type { Logger } from '../../shared/log/logger.ts'
import { changeAutoConf } from '../conf/auto-conf.ts'
import { writeConf, writePassfile, type ConfInput } from '../conf/write-conf.ts'
import { keepContent, removeDurably } from '../files/durable.ts'
import { findPostmaster } from './find-postmaster.ts'
import { prepareSocketDir, requireReachable } from './folders.ts'
import { killAll } from './orphans.ts'
import { requireFreePort } from './port.ts'
import { sweepReservations } from './reserve-timelines.ts'

/**
 * Who committed is in these. In recovery Postgres takes a file of them that is not there for zeros,
 * so that a standby would run without, and show transactions as not committed.
 */
const NEEDED = ['pg_xact', 'pg_multixact/members', 'pg_multixact/offsets']

/** A start's surroundings. */
export interface PrepareOptions {
  readonly dataDir: string
  readonly socket: string
  readonly socketDir: string
  readonly port: number
  readonly conf: ConfInput
  readonly settings: Readonly<Record<string, string>>
  readonly log: Logger
}

/**
 * Clears what a dead Postgres left, writes our files and standby.signal: every start is a
 * standby's. No postmaster may run here; whoever calls has checked that.
 * @throws PgError naming what stands in the way, or is missing.
 */
export async function prepareStart(options: PrepareOptions): Promise<void> {
  const { dataDir, conf, log } = options
  requireReachable(dataDir, conf.runAs)
  requireWhole(dataDir)
  prepareSocketDir(options.socketDir, conf.runAs)
  await clearDead(options)
  requireFreePort(conf.listen, options.port)
  const swept = sweepReservations(dataDir)
  if (swept.length > 0) log.info('removed unused timeline reservations', { timelines: swept })
  writeConf(dataDir, conf)
  writePassfile(dataDir, conf)
  changeAutoConf(dataDir, options.settings, conf.runAs)
  keepContent(join(dataDir, 'standby.signal'), '', { runAs: conf.runAs })
  removeDurably(join(dataDir, 'promote')) // of a promotion that never came to pass
}

function requireWhole(dataDir: string): void {
  const missing = NEEDED.find((name) => !existsSync(join(dataDir, name)))
  if (missing === undefined) return
  throw new PgError('data_corrupted', `${dataDir} has no ${missing}`)
}

async function clearDead({ dataDir, socket, conf, log }: PrepareOptions): Promise<void> {
  const found = findPostmaster(dataDir, conf.runAs)
  if (found.kind === 'standalone') {
    const who = `a standalone backend (process ${found.process.pid})`
    throw new PgError('object_not_in_prerequisite_state', `${dataDir} is in use by ${who}`)
  }
  const orphans = await killAll(dataDir, conf.runAs)
  if (orphans > 0) log.warn('killed backends that outlived their postmaster', { orphans })
  if (found.kind === 'stale') {
    // Postgres itself would take any living process with that number for its predecessor.
    log.info('removed a stale postmaster.pid', { why: found.why })
    rmSync(join(dataDir, 'postmaster.pid'), { force: true })
  }
  removeStaleSocketLock(dataDir, socket)
}

/**
 * The socket's lock file names a pid too, and Postgres takes any living process of that number for
 * its owner. One of this directory is stale: none of its processes lives any more.
 */
function removeStaleSocketLock(dataDir: string, socket: string): void {
  const lock = `${socket}.lock`
  if (!existsSync(lock)) return
  if (readFileSync(lock, 'utf8').split('\n')[1] !== dataDir) return
  rmSync(lock, { force: true })
  rmSync(socket, { force: true })
}
