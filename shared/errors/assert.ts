/**
 * A bug in this program, never a fault of its input or its surroundings. In session code it ends
 * that session (FATAL XX000, logged with its stack); in shared state it ends the process.
 */
export class AssertionError extends Error {
  override readonly name = 'AssertionError'
}

/** Marks what can only be false through a bug. @throws AssertionError when `condition` is false. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message)
}
