const DEADLINE_MS = 9000 // less than a unit test has
const POLL_MS = 10

/** How long to wait, and what to call it when it did not happen. */
export interface UntilOptions {
  deadlineMs?: number
  what?: string
}

/**
 * Polls `condition` until it gives a truthy value, and returns that value. An error it throws
 * counts as "not yet".
 * @throws Error naming what was awaited, with the last error or value, once the deadline passed.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  deadline: number | UntilOptions = {},
): Promise<Exclude<T, false | null | undefined | 0 | ''>> {
  const options = typeof deadline === 'number' ? { deadlineMs: deadline } : deadline
  const { deadlineMs = DEADLINE_MS, what = condition.toString() } = options
  const end = performance.now() + deadlineMs
  let last: unknown
  for (;;) {
    try {
      const value = await condition()
      if (value) return value as Exclude<T, false | null | undefined | 0 | ''>
      last = value
    } catch (error) {
      last = error
    }
    if (performance.now() >= end) break
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  const cause = last instanceof Error ? { cause: last } : {}
  throw new Error(`not within ${deadlineMs} ms: ${what}; last: ${Bun.inspect(last)}`, cause)
}
