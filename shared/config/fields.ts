import { formatDuration, formatSize, parseDuration, parseSize } from './units.ts'

/** A default that follows from fields declared before it, given as their values. */
export type DerivedDefault = (earlier: Readonly<Record<string, unknown>>) => string

/** One setting: how its text is read, shown and explained. Made by the builders below. */
export interface Field<T> {
  /** What stands for the value in `--help`, such as DURATION. */
  readonly placeholder: string
  readonly boolean: boolean
  /** A flag given again adds to the value instead of replacing it. */
  readonly repeatable: boolean
  readonly default: string | DerivedDefault | undefined
  readonly optional: boolean
  readonly live: boolean
  readonly secret: boolean
  readonly help: string
  readonly group: string | undefined
  /** @throws RangeError that says what was expected. */
  parse(text: string): T
  /** What GET /config shows; a string of it parses to the same value. */
  show(value: T): string | number | boolean
}

/** A service's settings, keyed by their names in TypeScript. */
export type Fields = Readonly<Record<string, Field<unknown>>>

/** The values of a set of fields. */
export type ConfigOf<F extends Fields> = {
  [K in keyof F]: F[K] extends Field<infer T> ? T : never
}

/** What every builder takes. A field with neither `default` nor `optional: true` is required. */
export interface FieldOptions<T> {
  help: string
  /** As its text: `'5s'`; a number or boolean is turned into text. */
  default?: string | number | boolean | DerivedDefault
  optional?: boolean
  /** May be changed without a restart: whoever uses it must look at the current value. */
  live?: boolean
  /** Never printed. Better is a field ending in `File` that names where the secret lies. */
  secret?: boolean
  /** Heading in `--help`. */
  group?: string
  /** What is wrong with a value that parsed well, or undefined. */
  check?: (value: T) => string | undefined
}

/** Bounds of a number, both inclusive: `'1s'` for durations, `'64kB'` for sizes, else numbers. */
export interface RangeOptions extends FieldOptions<number> {
  min?: string | number
  max?: string | number
}

type Value<T, O> = O extends { optional: true } ? T | undefined : T

interface Shape<T> {
  placeholder: string
  boolean?: boolean
  repeatable?: boolean
  parse(text: string): T
  show(value: T): string | number | boolean
}

function field<T, O extends FieldOptions<T>>(options: O, shape: Shape<T>): Field<Value<T, O>> {
  const { default: given } = options
  return {
    placeholder: shape.placeholder,
    boolean: shape.boolean ?? false,
    repeatable: shape.repeatable ?? false,
    default: given === undefined || typeof given === 'function' ? given : String(given),
    optional: options.optional ?? false,
    live: options.live ?? false,
    secret: options.secret ?? false,
    help: options.help,
    group: options.group,
    parse(text) {
      const value = shape.parse(text)
      const complaint = options.check?.(value)
      if (complaint !== undefined) throw new RangeError(`"${text}" ${complaint}`)
      return value as Value<T, O>
    },
    show: (value) => (value === undefined ? '' : shape.show(value as T)),
  }
}

const same = (value: string): string => value

function notEmpty(text: string): string {
  if (text === '') throw new RangeError('must not be empty')
  if (text.includes('\0')) throw new RangeError('must not contain a NUL')
  return text
}

/** Any text but the empty one. */
export function string<const O extends FieldOptions<string>>(options: O): Field<Value<string, O>> {
  return field<string, O>(options, { placeholder: 'TEXT', parse: notEmpty, show: same })
}

/** A path of the file system, taken as it is written (relative to the working directory). */
export function path<const O extends FieldOptions<string>>(options: O): Field<Value<string, O>> {
  return field<string, O>(options, { placeholder: 'PATH', parse: notEmpty, show: same })
}

const ID = /^[A-Za-z0-9-]+_[A-Za-z0-9-]+$/
const ID_BYTES_MAX = 63 // it is an application_name in Postgres, cut there at NAMEDATALEN - 1

/** A member's id, `CELL_NAME`: one underscore, 63 bytes at most. */
export function id<const O extends FieldOptions<string>>(options: O): Field<Value<string, O>> {
  const parse = (text: string): string => {
    if (ID.test(text) && text.length <= ID_BYTES_MAX) return text
    throw new RangeError(
      `"${text}" is not an id: CELL_NAME, letters, digits, dashes, ${ID_BYTES_MAX} bytes at most`,
    )
  }
  return field<string, O>(options, { placeholder: 'ID', parse, show: same })
}

/** One of the given words. */
export function oneOf<
  const V extends string,
  const O extends FieldOptions<V> & { values: readonly V[] },
>(options: O & { values: readonly V[] }): Field<Value<V, O>> {
  const parse = (text: string): V => {
    const value = options.values.find((candidate) => candidate === text)
    if (value !== undefined) return value
    throw new RangeError(`"${text}" is not one of ${options.values.join(', ')}`)
  }
  return field<V, O>(options, { placeholder: options.values.join('|'), parse, show: same })
}

const WORDS: Readonly<Record<string, boolean>> = {
  on: true,
  true: true,
  yes: true,
  1: true,
  off: false,
  false: false,
  no: false,
  0: false,
}

/** on/off, true/false, yes/no, 1/0; as a flag `--name` or `--no-name`. */
export function boolean<const O extends FieldOptions<boolean>>(
  options: O,
): Field<Value<boolean, O>> {
  const parse = (text: string): boolean => {
    const value = Object.hasOwn(WORDS, text) ? WORDS[text] : undefined
    if (value === undefined) throw new RangeError(`"${text}" is neither on nor off`)
    return value
  }
  return field<boolean, O>(options, { placeholder: '', boolean: true, parse, show: (on) => on })
}

/** Comma-separated texts without empty ones; as a flag it may be repeated. Empty is no element. */
export function list<const O extends FieldOptions<readonly string[]>>(
  options: O,
): Field<Value<readonly string[], O>> {
  const parse = (text: string): readonly string[] =>
    text === '' ? [] : text.split(',').map((part) => notEmpty(part.trim()))
  const show = (values: readonly string[]): string => values.join(',')
  return field<readonly string[], O>(options, {
    placeholder: 'TEXT,...',
    repeatable: true,
    parse,
    show,
  })
}

interface NumberShape {
  placeholder: string
  read: (text: string) => number
  write: (value: number) => string | number
}

function number<O extends RangeOptions>(options: O, shape: NumberShape): Field<Value<number, O>> {
  const bound = (text: string | number | undefined, none: number): number =>
    text === undefined ? none : typeof text === 'number' ? text : shape.read(text)
  const min = bound(options.min, 0)
  const max = bound(options.max, Number.MAX_SAFE_INTEGER)
  const parse = (text: string): number => {
    const value = shape.read(text)
    if (value < min) throw new RangeError(`"${text}" is below the least, ${shape.write(min)}`)
    if (value > max) throw new RangeError(`"${text}" is above the most, ${shape.write(max)}`)
    return value
  }
  return field<number, O>(options, { placeholder: shape.placeholder, parse, show: shape.write })
}

function readInteger(text: string): number {
  const value = Number(text)
  if (/^\s*[-+]?\d+\s*$/.test(text) && Number.isSafeInteger(value)) return value
  throw new RangeError(`"${text}" is not a whole number`)
}

/** A whole number, 0 or more unless `min` says otherwise. */
export function integer<const O extends RangeOptions>(options: O): Field<Value<number, O>> {
  return number(options, { placeholder: 'NUMBER', read: readInteger, write: (value) => value })
}

/** A TCP port; 0 takes a free one. */
export function port<const O extends RangeOptions>(options: O): Field<Value<number, O>> {
  const bounded = { max: 65_535, ...options }
  return number<O>(bounded, { placeholder: 'PORT', read: readInteger, write: (value) => value })
}

/** Milliseconds, written with a unit. Name the field with `Ms` last (or before Max, Min). */
export function duration<const O extends RangeOptions>(options: O): Field<Value<number, O>> {
  return number(options, { placeholder: 'DURATION', read: parseDuration, write: formatDuration })
}

/** Bytes, written with a unit. Name the field with `Bytes` last (or before Max, Min). */
export function size<const O extends RangeOptions>(options: O): Field<Value<number, O>> {
  return number(options, { placeholder: 'SIZE', read: parseSize, write: formatSize })
}
