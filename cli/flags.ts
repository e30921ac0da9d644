import type { ConfigOf, Fields } from '../shared/config/fields.ts'
import { catalogOf, readFlags } from '../shared/config/sources.ts'
import { UsageError, messageOf } from './errors.ts'

/** A command's flags as they were given, read by the field builders of services' settings. */
export interface FlagValues<F extends Fields> {
  readonly values: ConfigOf<F>
  /** The text of each flag that was given, by external name (`pool_size`). */
  readonly given: ReadonlyMap<string, string>
}

/**
 * Reads flags only: commands have no file and no environment variables of their own.
 * `remembered` are texts by external name that stand in for defaults.
 * @throws UsageError with every problem.
 */
export function readCommandFlags<const F extends Fields>(
  fields: F,
  argv: readonly string[],
  remembered: ReadonlyMap<string, string> = new Map(),
): FlagValues<F> {
  const catalog = catalogOf(fields)
  const reading = readFlags(argv, {}, catalog)
  const problems = [...reading.problems]
  const values: Record<string, unknown> = {}
  for (const [name, { key, field }] of catalog) {
    const fallback = typeof field.default === 'function' ? field.default(values) : field.default
    const text = reading.layer.get(name)?.text ?? remembered.get(name) ?? fallback
    if (text === undefined) continue
    try {
      values[key] = field.parse(text)
    } catch (error) {
      problems.push(`--${name.replaceAll('_', '-')}: ${messageOf(error)}`)
    }
  }
  if (problems.length > 0) throw new UsageError(problems)
  const given = new Map([...reading.layer].map(([name, { text }]) => [name, text]))
  return { values: values as ConfigOf<F>, given }
}

/** Takes every `--set X` and `--set=X` out of `argv`: their values hold any character. */
export function takeSets(argv: readonly string[]): { rest: string[]; sets: string[] } {
  const rest: string[] = []
  const sets: string[] = []
  for (let at = 0; at < argv.length; at += 1) {
    const argument = argv[at] ?? ''
    if (argument.startsWith('--set=')) sets.push(argument.slice('--set='.length))
    else if (argument !== '--set') rest.push(argument)
    else {
      const value = argv[(at += 1)]
      if (value === undefined) throw new UsageError(['--set needs SERVICE.KEY=VALUE'])
      sets.push(value)
    }
  }
  return { rest, sets }
}

/** Takes the first word that is no flag, nor the value of one of `valued`, out of `argv`. */
export function takeWord(
  argv: readonly string[],
  valued: readonly string[],
): { word: string | undefined; rest: string[] } {
  const at = argv.findIndex((argument, index) => {
    return !argument.startsWith('-') && !valued.includes(argv[index - 1] ?? '')
  })
  return { word: argv[at], rest: argv.filter((_, index) => index !== at) }
}
