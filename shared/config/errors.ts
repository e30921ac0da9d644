/** The settings are wrong in themselves: every complaint at once. The process exits with 2. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly exitCode = 2
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(problems.join('; '))
    this.problems = problems
  }
}

/** A change of a field that is read only at start. POST /config answers it with 409. */
export class NotLiveError extends Error {
  override readonly name = 'NotLiveError'
  readonly names: readonly string[]

  constructor(names: readonly string[]) {
    super(`needs a restart: ${names.join(', ')}`)
    this.names = names
  }
}

/** `--help` was among the arguments: print `text` on stdout and exit with 0. */
export class HelpRequested extends Error {
  override readonly name = 'HelpRequested'
  readonly exitCode = 0
  readonly text: string

  constructor(text: string) {
    super('help was asked for')
    this.text = text
  }
}
