// Ten thousand clients that are only there, beside two hundred that work.
import { residentBytes } from './cpu.ts'
import { type Sample, type Target } from './measure.ts'
import { runPgbench } from './pgbench.ts'
import { RawClient } from './raw-client.ts'
import type { Rig } from './rig.ts'

const ACTIVE = 200
const AT_ONCE = 64
const SETTLE_MS = 5000

/** What is different between the cases. */
export type IdleOptions = { readonly clients: number; readonly tls: boolean }

/** Connects them, runs pgbench beside them, and lets them go. */
export async function runIdle(
  rig: Rig,
  target: Target,
  { clients, tls }: IdleOptions,
  seconds: number,
): Promise<Sample> {
  const { host, port, pids } = target
  const before = residentBytes(pids)
  const idle = await connectMany(clients, () =>
    RawClient.connect({ host, port, secret: rig.secret, tls }),
  )
  try {
    await Bun.sleep(SETTLE_MS) // what logging in left behind is collected
    const perClient = (residentBytes(pids) - before) / clients
    const workload = { flags: ['-b', 'select-only'], mode: 'simple', clients: ACTIVE, tls } as const
    return { ...(await runPgbench(rig.pgbench, target, workload, seconds)), perClient }
  } finally {
    for (const client of idle) client.close()
  }
}

/** Many clients, some at a time. */
export async function connectMany(
  count: number,
  connect: () => Promise<RawClient>,
): Promise<RawClient[]> {
  const clients: RawClient[] = []
  let left = count
  const lane = async (): Promise<void> => {
    while (left > 0) {
      left -= 1
      clients.push(await connect())
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  return clients
}
