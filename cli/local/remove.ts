import { lstatSync, realpathSync, rmSync } from 'node:fs'
import { clusterPaths, readMarker } from './cluster-dir.ts'
import { removeOutside } from './postgres-home.ts'
import { readState } from './state.ts'

/**
 * Removes a stopped cluster: its folder, and what of it lies outside. A folder that is not there is
 * none to remove. @throws RefusedError for a folder that is not ours.
 */
export function removeCluster(dir: string): void {
  const marker = readMarker(dir)
  if (marker === undefined) return
  const state = readState(clusterPaths(dir).state)
  for (const runDir of state?.plan.runDirs ?? []) rmSync(runDir, { recursive: true, force: true })
  if (marker.dataRoot !== undefined) removeOutside(marker.dataRoot)
  // Of a link rmSync would remove the link alone, and leave all data behind.
  rmSync(realpathSync(dir), { recursive: true, force: true })
  if (lstatSync(dir, { throwIfNoEntry: false }) !== undefined) rmSync(dir)
}
