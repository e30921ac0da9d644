import type { Field, Fields } from './fields.ts'
import { envName, externalName, flagName } from './names.ts'

const WIDTH = 100

/** What `--help` prints: every setting with its flag, what it does, default and variable. */
export function helpText(options: { service: string; about?: string; fields: Fields }): string {
  const { service, about, fields } = options
  const groups = new Map<string, string[]>()
  const defaults: Record<string, unknown> = {}
  for (const [key, field] of Object.entries(fields)) {
    const shown = typeof field.default === 'function' ? field.default(defaults) : field.default
    if (shown !== undefined) defaults[key] = field.parse(shown)
    const group = field.group ?? service
    const lines = groups.get(group) ?? []
    lines.push(...fieldHelp({ service, name: externalName(key), field, shown }))
    groups.set(group, lines)
  }
  const sections = [...groups].flatMap(([group, lines]) => [`${group}:`, ...lines])
  return [
    `Usage: bun run ${service} -- [--NAME VALUE | --NAME=VALUE]...`,
    '',
    ...(about === undefined ? [] : [...wrap(about, WIDTH), '']),
    ...wrap(
      'A flag wins over an environment variable, that over the file of --config (YAML or ' +
        'TOML, keys in snake_case: pool_size: 16), that over the default. --set NAME=VALUE is ' +
        'a flag by its name in the file. Durations take us, ms, s, min, h, d; sizes B, kB, MB, ' +
        'GB (powers of 1024). What is marked live changes on SIGHUP, when the file changes, and ' +
        'by POST /config.',
      WIDTH,
    ),
    '',
    ...sections,
  ].join('\n')
}

interface FieldHelp {
  service: string
  name: string
  field: Field<unknown>
  shown: string | undefined
}

function fieldHelp({ service, name, field, shown }: FieldHelp): string[] {
  const flag = flagName(name)
  const usage = field.boolean ? `${flag}, --no-${flag.slice(2)}` : `${flag} ${field.placeholder}`
  const fallback =
    shown !== undefined
      ? `default ${shown === '' ? 'none' : shown}`
      : field.optional
        ? 'optional'
        : 'required'
  const facts = [fallback, `env ${envName(service, name)}`, ...(field.live ? ['live'] : [])]
  return [
    `  ${usage}`,
    ...wrap(field.help, WIDTH - 8).map((line) => `        ${line}`),
    `        [${facts.join('; ')}]`,
  ]
}

/** Cuts a text at blanks so that no line is longer than `width` where a blank allows it. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(/\s+/)) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
