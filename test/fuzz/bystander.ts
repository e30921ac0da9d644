import { Frontend, type Address } from '../support/frontend.ts'

/** What a bystander saw. */
export type Seen = { queries: number; errors: unknown[]; slowestMs: number }

/** A session that queries without a pause, and remembers every answer that was not the right one. */
export function startBystander(address: Address): { stop(): Promise<Seen> } {
  const seen: Seen = { queries: 0, errors: [], slowestMs: 0 }
  let running = true
  const watch = async (): Promise<void> => {
    await using frontend = await Frontend.connect(address)
    do {
      const startMs = performance.now()
      const [value] = await frontend.row(`select ${seen.queries}`)
      seen.slowestMs = Math.max(seen.slowestMs, performance.now() - startMs)
      if (value !== String(seen.queries)) seen.errors.push(value)
      seen.queries += 1
    } while (running)
  }
  const watching = watch().catch((error: unknown) => void seen.errors.push(error))
  return {
    async stop() {
      running = false
      await watching
      return seen
    },
  }
}
