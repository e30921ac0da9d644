import { chmodSync, chownSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { RunAs } from '../../pgctld/postgres/run-as.ts'
import type { ClusterPaths } from './cluster-dir.ts'
import type { ClusterPlan } from './plan.ts'
import { makeOwnDir } from './socket-dir.ts'

const OWNER_ONLY = 0o700
/** Root's folders that Postgres's user passes through, but may not list. */
const PASS_THROUGH = 0o710

/** Makes every folder of the plan with the owner and mode that its user needs. Idempotent. */
export function makeFolders(paths: ClusterPaths, plan: ClusterPlan, runAs: RunAs): void {
  const passThrough = (dir: string): void => {
    makeOwnDir(dir, runAs.drop ? PASS_THROUGH : OWNER_ONLY)
    if (runAs.drop) chownSync(dir, 0, runAs.gid)
  }
  makeOwnDir(paths.logs, OWNER_ONLY)
  for (const { id } of [...plan.gateways, ...plan.orchs]) {
    makeOwnDir(join(paths.cache, id), OWNER_ONLY)
  }
  for (const dir of [paths.poolers, ...plan.runDirs]) passThrough(dir)
  for (const { socketDir } of [...plan.gateways, ...plan.poolers]) makeOwnDir(socketDir, OWNER_ONLY)
  for (const { home, pgctld } of plan.poolers) {
    passThrough(home)
    passThrough(dirname(pgctld.dataDir))
    mkdirSync(pgctld.postgresSocketDir, { recursive: true, mode: OWNER_ONLY })
    chmodSync(pgctld.postgresSocketDir, OWNER_ONLY)
    if (runAs.drop) chownSync(pgctld.postgresSocketDir, runAs.uid, runAs.gid)
  }
}
