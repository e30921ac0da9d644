// How long the long forms are: small by default, as large as somebody has time for.

/** Rounds of each fault; CHAOS_ROUNDS. */
export const ROUNDS = Number(process.env['CHAOS_ROUNDS'] ?? 1)
/** Paced writers and readers; CHAOS_WRITERS, CHAOS_READERS. */
export const WRITERS = Number(process.env['CHAOS_WRITERS'] ?? 6)
export const READERS = Number(process.env['CHAOS_READERS'] ?? 3)
/** How long one test may take. */
export const TEST_MS = 60_000 + ROUNDS * 90_000
/** How long processes are frozen; CHAOS_SECONDS, comma-separated. */
export const SECONDS = (process.env['CHAOS_SECONDS'] ?? '3').split(',').map(Number)
/** Busy programs beside the rounds; CHAOS_HOGS. */
export const HOGS = Number(process.env['CHAOS_HOGS'] ?? 0)
/** A round in which somebody waited for longer tells all logs; CHAOS_TELL_MS. */
export const TELL_MS = Number(process.env['CHAOS_TELL_MS'] ?? 10_000)
