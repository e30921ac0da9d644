// A thousand clients that listen to one channel, and one that notifies. PgBouncer in transaction
// mode has no LISTEN: there is nobody to compare with.
import { residentBytes } from './cpu.ts'
import { connectMany } from './idle.ts'
import { measured, type Run, type Sample, type Target } from './measure.ts'
import { RawClient } from './raw-client.ts'
import type { Rig } from './rig.ts'

const LISTENERS = 1000
/** Time between two notifications; each is delivered to all. */
const EVERY_MS = 50
const DEADLINE_MS = 10_000

/** Notifications told a second, and how long each took from NOTIFY to its listener. */
export async function runListen(rig: Rig, target: Target, seconds: number): Promise<Sample> {
  const { host, port, pids } = target
  const connect = (): Promise<RawClient> => RawClient.connect({ host, port, secret: rig.secret })
  const before = residentBytes(pids)
  const listeners = await connectMany(LISTENERS, connect)
  const notifier = await connect()
  try {
    for (const listener of listeners) await listener.query('listen bench')
    const perClient = (residentBytes(pids) - before) / LISTENERS
    const sample = await measured(target, () => notify(notifier, listeners, seconds))
    return { ...sample, perClient }
  } finally {
    for (const client of [notifier, ...listeners]) client.close()
  }
}

async function notify(
  notifier: RawClient,
  listeners: readonly RawClient[],
  seconds: number,
): Promise<Run> {
  const latencies: number[] = []
  const count = Math.ceil((seconds * 1000) / EVERY_MS)
  let sentAt = 0
  let heard: (() => void) | undefined
  let missing = 0
  for (const listener of listeners) {
    listener.onData = () => {
      latencies.push((performance.now() - sentAt) * 1000)
      missing -= 1
      if (missing === 0) heard?.()
    }
  }
  const beginMs = Date.now()
  for (let i = 0; i < count; i++) {
    missing = listeners.length
    const all = new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${missing} heard nothing`)), DEADLINE_MS)
      heard = () => {
        clearTimeout(late)
        resolve()
      }
    })
    sentAt = performance.now()
    await Promise.all([notifier.query(`notify bench, '${i}'`), all])
    await Bun.sleep(Math.max(0, beginMs + (i + 1) * EVERY_MS - Date.now()))
  }
  const units = count * listeners.length
  return { units, beginMs, endMs: Date.now(), latencies: Uint32Array.from(latencies) }
}
