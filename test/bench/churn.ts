// Clients that log in with SCRAM, ask one thing, and go. libpq would spend most of its time deriving
// its key from the password anew; these have theirs, so that what the proxies do shows.
import { measured, type Run, type Sample, type Target } from './measure.ts'
import { RawClient, type RawLogin } from './raw-client.ts'
import type { Rig } from './rig.ts'

const AT_ONCE = 8

/** Connects for `seconds`; a unit is a connect, its query, and its end. */
export async function runChurn(rig: Rig, target: Target, seconds: number): Promise<Sample> {
  const { host, port } = target
  return await measured(target, () => churn({ host, port, secret: rig.secret }, seconds))
}

async function churn(login: RawLogin, seconds: number): Promise<Run> {
  const latencies: number[] = []
  const beginMs = Date.now()
  const lane = async (): Promise<void> => {
    while (Date.now() - beginMs < seconds * 1000) {
      const from = performance.now()
      const client = await RawClient.connect(login)
      await client.query('select 1')
      client.close()
      latencies.push((performance.now() - from) * 1000)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  const units = latencies.length
  return { units, beginMs, endMs: Date.now(), latencies: Uint32Array.from(latencies) }
}
