// Reads a record that another process, maybe of another version, wrote as JSON. Unknown fields are
// passed over, so that a newer writer can add some; missing or wrong ones make the record bad.

/** Says what is wrong with a value, or nothing. */
export type Check = (value: unknown) => string | undefined

/** A record that cannot be used; `message` lists every bad field. */
export class RecordError extends Error {
  override readonly name = 'RecordError'
}

/** A check for every field of a record. */
export type Shape<T> = { readonly [Field in keyof T]-?: Check }

/** Any text, also none. */
export const text: Check = (value) => (typeof value === 'string' ? undefined : 'is not a string')

/** Text that is not empty. */
export const name: Check = (value) =>
  typeof value === 'string' && value !== '' ? undefined : 'is not a name'

/** True or false. */
export const flag: Check = (value) => (typeof value === 'boolean' ? undefined : 'is not a boolean')

/** A whole number within bounds, both included. */
export function integer(min: number, max: number): Check {
  return (value) => {
    const good = Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max
    return good ? undefined : `is not an integer from ${min} to ${max}`
  }
}

/** A TCP port; 0 stands for "none". */
export const port: Check = integer(0, 65_535)

/** What `check` says of a field that may be missing. */
export function optional(check: Check): Check {
  return (value) => (value === undefined ? undefined : check(value))
}

/** One of a few texts. */
export function oneOf(...choices: readonly string[]): Check {
  return (value) =>
    typeof value === 'string' && choices.includes(value)
      ? undefined
      : `is none of ${choices.join(', ')}`
}

/** A list whose every item passes. */
export function listOf(item: Check): Check {
  return (value) => {
    if (!Array.isArray(value)) return 'is not a list'
    return value.map(item).find((problem) => problem !== undefined)
  }
}

/** An object used as a map, whose every value passes. */
export function mapOf(item: Check): Check {
  return (value) => {
    if (!isObject(value)) return 'is not an object'
    return Object.values(value)
      .map(item)
      .find((problem) => problem !== undefined)
  }
}

/** The record in `json`. @throws RecordError */
export function readRecord<T>(shape: Shape<T>, json: string): T {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (error) {
    throw new RecordError('not JSON', { cause: error })
  }
  return checkRecord(shape, value)
}

/** The value as a record. @throws RecordError */
export function checkRecord<T>(shape: Shape<T>, value: unknown): T {
  if (!isObject(value)) throw new RecordError('not an object')
  const problems = Object.entries<Check>(shape).flatMap(([field, check]) => {
    const problem = check(value[field])
    return problem === undefined ? [] : [`${field} ${problem}`]
  })
  if (problems.length > 0) throw new RecordError(problems.join(', '))
  return value as T // every field of the shape was checked
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
