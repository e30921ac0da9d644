/**
 * JSON for people and scripts: bigints as numbers where exact, else text; maps and sets as JSON.
 */
export function toJson(value: unknown): string {
  return JSON.stringify(value ?? null, replace, 2)
}

function replace(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value)
    return Number.isSafeInteger(number) ? number : value.toString()
  }
  if (value instanceof Map) return Object.fromEntries(value)
  if (value instanceof Set) return [...value]
  return value
}
