import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'

const POLL_MS = 50
const WAIT_MS_MAX = 300_000

/**
 * Runs `body` while no other process of this machine runs one under the same lock file. A lock whose
 * owner died is taken over.
 * @throws Error when it is not free within five minutes
 */
export async function withLock<T>(file: string, body: () => Promise<T>): Promise<T> {
  const end = Date.now() + WAIT_MS_MAX
  while (!tryLock(file)) {
    if (Date.now() > end)
      throw new Error(`${file} is held by process ${readFileSync(file, 'utf8')}`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  try {
    return await body()
  } finally {
    rmSync(file, { force: true })
  }
}

function tryLock(file: string): boolean {
  try {
    writeFileSync(file, String(process.pid), { flag: 'wx' })
    return true
  } catch {
    return reclaim(file)
  }
}

/** Removes the lock of a process that is gone. Always false: the next try takes it. */
function reclaim(file: string): false {
  try {
    const owner = readFileSync(file, 'utf8')
    if (owner !== '' && !existsSync(`/proc/${owner}`)) rmSync(file)
  } catch {
    return false // released meanwhile
  }
  return false
}
