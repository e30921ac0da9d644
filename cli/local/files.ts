import { closeSync, fsyncSync, openSync, renameSync, writeSync } from 'node:fs'

const OWNER_ONLY = 0o600

/** Replaces a file so that a reader sees the old text or the new one, also after a crash. */
export function writeFileWhole(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.new`
  const fd = openSync(temporary, 'w', OWNER_ONLY)
  try {
    writeSync(fd, text)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  renameSync(temporary, path)
}
