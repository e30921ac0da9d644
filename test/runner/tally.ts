/** What a `bun test` said, or several together. */
export interface Tally {
  passed: number
  failed: number
  skipped: number
  /** Files it says that it ran. */
  files: number
}

/** Nothing yet. */
export const NO_TESTS: Tally = { passed: 0, failed: 0, skipped: 0, files: 0 }

/** Both together. */
export function sum(left: Tally, right: Tally): Tally {
  return {
    passed: left.passed + right.passed,
    failed: left.failed + right.failed,
    skipped: left.skipped + right.skipped,
    files: left.files + right.files,
  }
}

/**
 * Reads the summary at the end of `bun test`, a line at a time. Its JUnit report is no use: it
 * leaves out tests that failed outside of a test.
 */
export class SummaryReader {
  readonly #counts = new Map<string, number>()
  #files = 0

  /** True when the line is part of the summary. */
  read(line: string): boolean {
    const count = /^ (\d+) (pass|fail|errors?|skip|todo|filtered out)$/.exec(line)
    if (count !== null) {
      this.#counts.set((count[2] ?? '').replace('errors', 'error'), Number(count[1]))
      return true
    }
    const files = /^Ran (\d+) tests? across (\d+) files?\./.exec(line)
    if (files !== null) this.#files = Number(files[2])
    return files !== null || /^\s*(--seed=\d+|\d+ expect\(\) calls)$/.test(line)
  }

  /**
   * The counts, with what the summary hides: errors count as failures, an exit code that is not 0
   * is at least one, and so is every file that was given and not run.
   */
  tally(exitCode: number, filesGiven: number): Tally {
    const count = (name: string): number => this.#counts.get(name) ?? 0
    const lost = Math.max(0, filesGiven - this.#files)
    const failed = count('fail') + count('error') + lost
    return {
      passed: count('pass'),
      failed: exitCode === 0 ? failed : Math.max(1, failed),
      skipped: count('skip') + count('todo'),
      files: this.#files,
    }
  }
}

/** The last line of a run. */
export function closingLine({ passed, failed, skipped }: Tally): string {
  const tail = skipped === 0 ? '' : `, ${skipped} skipped`
  return `${passed} passed, ${failed} failed${tail}`
}
