import { closeSync, fsyncSync, openSync, renameSync, writeSync } from 'node:fs'

const OWNER_ONLY = 0o600

/**
 * Replaces a file (0600) so that a reader sees the old text or the new one. With `durable` (the
 * default) also after a crash of the machine; without, only after one of ours, but at once.
 */
export function writeFileWhole(path: string, text: string, durable = true): void {
  const temporary = `${path}.${process.pid}.new`
  const fd = openSync(temporary, 'w', OWNER_ONLY)
  try {
    writeSync(fd, text)
    if (durable) fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  renameSync(temporary, path)
}
