import { lstatSync, readdirSync, realpathSync, rmdirSync, rmSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { RefusedError, messageOf } from '../errors.ts'
import { clusterPaths, MARKER, readMarker } from './cluster-dir.ts'
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
  removeFolder(dir)
}

/**
 * Removes a folder, what a link leads to as well, and the marker last: what is left of a removal
 * that fails is still ours. A mount point stays, empty. @throws RefusedError.
 */
export function removeFolder(dir: string): void {
  try {
    const real = realpathSync(dir)
    const names = readdirSync(real).toSorted((a, b) => Number(a === MARKER) - Number(b === MARKER))
    for (const name of names) rmSync(join(real, name), { recursive: true, force: true })
    for (const path of new Set([real, dir])) removeEmpty(path)
  } catch (error) {
    throw new RefusedError(`cannot remove ${dir}: ${messageOf(error)}`)
  }
}

function removeEmpty(path: string): void {
  try {
    if (lstatSync(path).isSymbolicLink()) unlinkSync(path)
    else rmdirSync(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // A mount point, or a folder whose parent is not ours to write.
    if (code !== 'EBUSY' && code !== 'EACCES' && code !== 'EPERM' && code !== 'ENOENT') throw error
  }
}
