// The time as one turn of the event loop has it: read from the clock once for all that happens at
// once. For how long things take, on paths where a clock for each would cost as much as the work;
// never for a deadline or a lease, which must know of a process that was stopped in between.
import { now } from './clock.ts'

let atMs = 0
let known = false

/** Monotonic milliseconds, as `now` has them, at most one turn old. */
export function turnMs(): number {
  if (!known) {
    atMs = now()
    known = true
  }
  return atMs
}

/** Time has passed: who asks next reads the clock. The link calls it as it reads and writes. */
export function turnEnds(): void {
  known = false
}
