/** The command line is wrong in itself: exit code 2. `problems` has every complaint. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly exitCode = 2
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.problems = problems
  }
}

/** The world refuses: a busy port, a foreign folder, a Postgres that fails. Exit code 1. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError'
  readonly exitCode = 1
}

/** Somebody asked for an end before it was done. Exit code 1. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError'
  readonly exitCode = 1

  constructor() {
    super('interrupted before the cluster served; nothing is left running')
  }
}

/** What a person should read of an error of any kind, in one line. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return text.replace(/\s*\n\s*/g, ' ')
}
