// Hands out ports below the ephemeral range, each to one process of the machine at a time, so that
// test files that run in parallel never meet. A claim is a file named by the port; it ends with the
// process that made it.
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'

const PORT_MIN = 10_000
const PORT_MAX = 32_767 // the kernel hands out ephemeral ports from 32768 on
// What a cluster takes by default (shared by nobody's tests, so that a cluster started by hand on
// this machine is not in their way): services, Postgres.
const DEFAULTS = [
  [15_000, 15_599],
  [25_432, 25_532],
] as const
const CLAIMS_DIR = '/tmp/multigres-test-ports'
const TRIES_MAX = 2000

/** A TCP port nobody listens on, ours until this process ends. */
export async function freePort(): Promise<number> {
  if (!existsSync(CLAIMS_DIR)) {
    mkdirSync(CLAIMS_DIR, { recursive: true })
    chmodSync(CLAIMS_DIR, 0o1777)
  }
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN + 1))
    if (!isDefault(port) && claim(port) && canListen(port)) return port
  }
  throw new Error(`no free port in ${PORT_MIN}..${PORT_MAX} after ${TRIES_MAX} tries`)
}

/** `count` different free ports. */
export function freePorts(count: number): Promise<number[]> {
  return Promise.all(Array.from({ length: count }, () => freePort()))
}

function isDefault(port: number): boolean {
  return DEFAULTS.some(([first, last]) => port >= first && port <= last)
}

function claim(port: number): boolean {
  const file = join(CLAIMS_DIR, String(port))
  try {
    const fd = openSync(file, 'wx', 0o644)
    writeSync(fd, String(process.pid))
    closeSync(fd)
    return true
  } catch {
    try {
      const owner = readFileSync(file, 'utf8')
      if (owner !== '' && !existsSync(`/proc/${owner}`)) rmSync(file)
    } catch {
      // Someone else was faster, or the claim is another user's: the next port will do.
    }
    return false
  }
}

function canListen(port: number): boolean {
  try {
    Bun.listen({ hostname: '127.0.0.1', port, socket: { data() {} } }).stop(true)
    return true
  } catch {
    return false
  }
}
