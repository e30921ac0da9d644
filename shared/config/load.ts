import { ConfigError, HelpRequested } from './errors.ts'
import type { Fields } from './fields.ts'
import { helpText } from './help.ts'
import { catalogOf, readEnv, readFlags, type Env, type Layer } from './sources.ts'
import { ConfigStore } from './store.ts'

/** Everything that settings are made of. */
export interface LoadOptions<F extends Fields> {
  /** The service's name as users type it: it is in the names of environment variables. */
  service: string
  /** One or two sentences for the top of `--help`. */
  about?: string
  fields: F
  argv: readonly string[]
  env: Env
}

/**
 * Reads a service's settings: flag (and --set) over environment over file over default.
 * @throws ConfigError with every problem there is, HelpRequested for `--help` or `-h`.
 */
export function loadConfig<const F extends Fields>(options: LoadOptions<F>): ConfigStore<F> {
  const { service, fields, argv, env } = options
  if (argv.includes('--help') || argv.includes('-h')) throw new HelpRequested(helpText(options))
  const catalog = catalogOf(fields)
  const flags = readFlags(argv, env, catalog)
  const variables = readEnv(service, env, catalog)
  const fixed: Layer = new Map([...variables.layer, ...flags.layer])
  const store = new ConfigStore<F>({ catalog, fixed, file: fixed.get('config')?.text })
  const problems = [...flags.problems, ...variables.problems, ...store.load()]
  if (problems.length > 0) throw new ConfigError(problems)
  store.warnings.push(...variables.warnings)
  return store
}
