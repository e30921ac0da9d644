/**
 * The one external name of a field: its key in snake_case without its unit, so that
 * `poolWaitTimeoutMs` is `pool_wait_timeout` in files, `--set` and GET /config.
 */
export function externalName(key: string): string {
  return key
    .replace(/(?:Ms|Bytes)(?=(?:Max|Min)?$)/, '')
    .replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

/** The field's flag: `pool_wait_timeout` is `--pool-wait-timeout`. */
export function flagName(name: string): string {
  return `--${name.replaceAll('_', '-')}`
}

/** The field's environment variable: `MULTIGRES_POOLER_POOL_WAIT_TIMEOUT`. */
export function envName(service: string, name: string): string {
  return `${envPrefix(service)}${name.toUpperCase()}`
}

/** What the service's environment variables begin with. */
export function envPrefix(service: string): string {
  return `MULTIGRES_${service.toUpperCase().replaceAll('-', '_')}_`
}

/** `; did you mean X?` when one of `known` is close to `given`, else the empty string. */
export function didYouMean(given: string, known: Iterable<string>): string {
  let best: string | undefined
  let bestDistance = Math.min(3, given.length / 2) // further off is another word, not a slip
  for (const candidate of known) {
    const distance = editDistance(given, candidate)
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance]
  }
  return best === undefined ? '' : `; did you mean ${best}?`
}

/** Levenshtein: insertions, deletions and replacements, one row of the table at a time. */
function editDistance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index)
  for (let i = 1; i <= left.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= right.length; j += 1) {
      const replaced = (row[j - 1] ?? 0) + (left[i - 1] === right[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[right.length] ?? 0
}
