// With pg_temp in its search_path a session makes temporary objects by statements that do not say
// so: by all that write, whatever their words.

/** The setting's name. */
export const SEARCH_PATH = 'search_path'

/** Whether unqualified names may mean the temporary schema first. */
export function reachesTemp(pairs: Iterable<readonly [string, string]>): boolean {
  for (const [name, value] of pairs) {
    if (name === SEARCH_PATH && /pg_temp/i.test(value)) return true
  }
  return false
}
