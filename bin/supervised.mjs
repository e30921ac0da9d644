// shared/lifecycle/supervised.ts for Node, before anything is installed; that one says why.
import { fstatSync } from 'node:fs'

/** Whether the end of our stdin is the end of whoever started us. */
export function isSupervised() {
  const holder = process.env.MULTIGRES_SUPERVISED
  if (!holder || !stdinIsPipe()) return false
  return holder === '1' || Number(holder) === process.ppid || !isAlive(Number(holder))
}

function stdinIsPipe() {
  try {
    const stat = fstatSync(0)
    return stat.isFIFO() || stat.isSocket()
  } catch {
    return false
  }
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return error.code === 'EPERM'
  }
}
