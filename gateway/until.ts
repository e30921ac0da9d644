import { now, sleep } from '../shared/time/clock.ts'

const POLL_MS = 20

/** Waits until `condition` holds, for `ms` at most. Whether it does. For starts only. */
export async function until(condition: () => boolean, ms: number): Promise<boolean> {
  const end = now() + ms
  while (!condition()) {
    if (now() >= end) return false
    await sleep(POLL_MS)
  }
  return true
}
