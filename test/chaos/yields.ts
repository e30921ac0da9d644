// What writers got for their writes, apart for quiet periods and for what a fault has touched.
import type { LogWrite, Operation } from './history.ts'

/** Of the writes sent in one stretch of time. */
export type Yield = { readonly sent: number; readonly acknowledged: number }

/** Quiet means that nothing was hurt from `fromMs` to `untilMs`. */
export function yieldOf(history: readonly Operation[], fromMs: number, untilMs: number): Yield {
  const sent = writes(history).filter(
    ({ invokedMs, endedMs }) => invokedMs >= fromMs && endedMs < untilMs,
  )
  return { sent: sent.length, acknowledged: sent.filter(({ outcome }) => outcome === 'ok').length }
}

/** Writes whose outcome nobody knows, that were on their way at `fromMs` or came later. */
export function unknownSince(history: readonly Operation[], fromMs: number): number {
  return writes(history).filter(
    ({ outcome, endedMs }) => outcome === 'unknown' && endedMs >= fromMs,
  ).length
}

/** The longest time in which nobody's write was acknowledged, and when it ended. */
export type Silence = { readonly longestMs: number; readonly endedMs: number }

/** From `fromMs` on; it ends with the first write that is acknowledged again. */
export function silenceSince(history: readonly Operation[], fromMs: number): Silence {
  const acknowledged = writes(history)
    .filter(({ outcome, endedMs }) => outcome === 'ok' && endedMs >= fromMs)
    .map(({ endedMs }) => endedMs)
    .toSorted((a, b) => a - b)
  let silence: Silence = { longestMs: 0, endedMs: fromMs }
  let before = fromMs
  for (const endedMs of acknowledged) {
    if (endedMs - before > silence.longestMs) silence = { longestMs: endedMs - before, endedMs }
    before = endedMs
  }
  return silence
}

/**
 * What was acknowledged, as a share; each quiet period counts alike, and one in which no write was
 * answered at all counts as none: that is an outage, and not a period that nobody used.
 */
export function shareOf(yields: readonly Yield[]): number {
  if (yields.length === 0) return 0
  const shares = yields.map(({ sent, acknowledged }) => (sent === 0 ? 0 : acknowledged / sent))
  return shares.reduce((sum, share) => sum + share, 0) / shares.length
}

function writes(history: readonly Operation[]): LogWrite[] {
  return history.filter((operation) => operation.kind === 'write')
}
