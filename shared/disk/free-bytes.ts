import { statfsSync } from 'node:fs'

/**
 * Bytes that a process other than root may still write where `path` lies; undefined where that
 * cannot be told, as for a path that is not there.
 */
export function freeBytes(path: string): bigint | undefined {
  try {
    const { bavail, bsize } = statfsSync(path, { bigint: true })
    return bavail * bsize
  } catch {
    return undefined
  }
}
