import { readFileSync } from 'node:fs'
import { extname } from 'node:path'
import type { Field, Fields } from './fields.ts'
import { didYouMean, envName, envPrefix, externalName, flagName } from './names.ts'

/** Where a value came from, as GET /config shows it. */
export type Source = 'flag' | 'env' | 'file' | 'set' | 'default'

/** The environment, as `process.env` has it. */
export type Env = Readonly<Record<string, string | undefined>>

/** A text given for a field and where, in words for an error message. */
export interface Given {
  readonly text: string
  readonly source: Source
  readonly where: string
}

/** Texts by external name. */
export type Layer = Map<string, Given>

/** What a source gave; `problems` are errors, `warnings` are not. */
export interface Reading {
  layer: Layer
  problems: string[]
  warnings: string[]
}

/** The fields by their external names. */
export type Catalog = ReadonlyMap<string, { key: string; field: Field<unknown> }>

/** Indexes fields by external name. @throws Error when two fields share one: a bug. */
export function catalogOf(fields: Fields): Catalog {
  const catalog = new Map<string, { key: string; field: Field<unknown> }>()
  for (const [key, field] of Object.entries(fields)) {
    const name = externalName(key)
    if (catalog.has(name)) throw new Error(`two fields have the external name ${name}`)
    catalog.set(name, { key, field })
  }
  return catalog
}

const emptyReading = (): Reading => ({ layer: new Map(), problems: [], warnings: [] })

/** Reads `NAME=VALUE` with the name in snake_case, as `--set` takes it. */
function readSet(reading: Reading, catalog: Catalog, pair: string, where: string): void {
  const equals = pair.indexOf('=')
  const name = pair.slice(0, equals)
  if (equals < 1) reading.problems.push(`${where}: "${pair}" is not NAME=VALUE`)
  else if (!catalog.has(name)) {
    const hint = didYouMean(name, catalog.keys())
    reading.problems.push(`${where}: there is no setting ${name}${hint}`)
  } else {
    reading.layer.set(name, { text: pair.slice(equals + 1), source: 'set', where: `--set ${name}` })
  }
}

/**
 * Reads the command line and MULTIGRES_SET (`NAME=VALUE`, one a line), which counts as if its
 * lines were `--set` at the end of it. Of two that name one field the later wins.
 */
export function readFlags(argv: readonly string[], env: Env, catalog: Catalog): Reading {
  const reading = emptyReading()
  const flags = new Map([...catalog.keys()].map((name) => [flagName(name), name]))
  for (let at = 0; at < argv.length; at += 1) {
    const argument = argv[at] ?? ''
    const [flag, inline] = cut(argument)
    const next = (): string | undefined => {
      if (inline !== undefined) return inline
      const value = argv[at + 1]
      if (value === undefined || value.startsWith('--')) {
        reading.problems.push(`${flag} needs a value`)
        return undefined
      }
      at += 1
      return value
    }
    if (!argument.startsWith('--')) reading.problems.push(`unexpected argument "${argument}"`)
    else if (flag === '--set') {
      const pair = next()
      if (pair !== undefined) readSet(reading, catalog, pair, '--set')
    } else if (!readFlag(reading, { flags, catalog, flag, inline, next })) {
      reading.problems.push(`unknown flag ${flag}${didYouMean(flag, flags.keys())}`)
      if (inline === undefined && argv[at + 1]?.startsWith('-') === false) at += 1 // its value
    }
  }
  for (const line of (env['MULTIGRES_SET'] ?? '').split('\n').map((pair) => pair.trim())) {
    if (line !== '') readSet(reading, catalog, line, 'MULTIGRES_SET')
  }
  return reading
}

/** `--name=value` in two; without `=` the second is undefined. */
function cut(argument: string): [string, string | undefined] {
  const equals = argument.indexOf('=')
  return equals < 0
    ? [argument, undefined]
    : [argument.slice(0, equals), argument.slice(equals + 1)]
}

interface FlagContext {
  flags: ReadonlyMap<string, string>
  catalog: Catalog
  flag: string
  inline: string | undefined
  next: () => string | undefined
}

/** False when there is no such flag. */
function readFlag(reading: Reading, { flags, catalog, flag, inline, next }: FlagContext): boolean {
  const positive = flag.startsWith('--no-') ? `--${flag.slice('--no-'.length)}` : undefined
  const name = flags.get(flag)
  const field = catalog.get(name ?? '')?.field
  const negated = flags.get(positive ?? '')
  if (name !== undefined && field !== undefined) {
    const text = field.boolean ? (inline ?? 'on') : next()
    if (text === undefined) return true
    const before = field.repeatable ? reading.layer.get(name)?.text : undefined
    const whole = before === undefined || before === '' ? text : `${before},${text}`
    reading.layer.set(name, { text: whole, source: 'flag', where: flag })
  } else if (negated !== undefined && catalog.get(negated)?.field.boolean && inline === undefined) {
    reading.layer.set(negated, { text: 'off', source: 'flag', where: flag })
  } else return false
  return true
}

/** Reads the service's own environment variables; an empty one counts as not given. */
export function readEnv(service: string, env: Env, catalog: Catalog): Reading {
  const reading = emptyReading()
  const known = new Map([...catalog.keys()].map((name) => [envName(service, name), name]))
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith(envPrefix(service)) || text === undefined || text === '') continue
    const name = known.get(variable)
    if (name !== undefined) reading.layer.set(name, { text, source: 'env', where: variable })
    else {
      const hint = didYouMean(variable, known.keys())
      reading.warnings.push(`environment: ${variable} names no setting${hint}`)
    }
  }
  return reading
}

/**
 * Reads a file of settings: TOML when its name ends in .toml, else YAML, of which JSON is a part.
 */
export function readFile(file: string, catalog: Catalog): Reading {
  const reading = emptyReading()
  let content: unknown
  try {
    const text = readFileSync(file, 'utf8')
    content = extname(file) === '.toml' ? Bun.TOML.parse(text) : Bun.YAML.parse(text)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    reading.problems.push(`--config: cannot read ${file}: ${why}`)
    return reading
  }
  if (content === null || content === undefined) return reading // an empty file
  if (typeof content !== 'object' || Array.isArray(content)) {
    reading.problems.push(`${file}: not a list of settings, each NAME: VALUE`)
    return reading
  }
  for (const [name, value] of Object.entries(content)) {
    const text = textOf(value)
    if (!catalog.has(name)) {
      const hint = didYouMean(name, catalog.keys())
      reading.warnings.push(`${file}: there is no setting ${name}${hint}`)
    } else if (text === undefined) reading.problems.push(`${file}: ${name} takes one plain value`)
    else if (text !== null) {
      reading.layer.set(name, { text, source: 'file', where: `${file}: ${name}` })
    }
  }
  return reading
}

/**
 * A file's value as the text a flag would have; null counts as not given, undefined is a mistake.
 */
function textOf(value: unknown): string | null | undefined {
  if (value === null) return null
  if (Array.isArray(value)) {
    const texts = value.map(textOf)
    return texts.some((text) => typeof text !== 'string') ? undefined : texts.join(',')
  }
  if (typeof value === 'string') return value
  return typeof value === 'number' || typeof value === 'boolean' ? `${value}` : undefined
}
