/** `text` as a literal that means the same whatever standard_conforming_strings says. */
export function literal(text: string): string {
  return `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
}

/** A setting's name as SET and RESET take it: each part a quoted identifier. */
export function settingName(name: string): string {
  return name
    .split('.')
    .map((part) => `"${part.replaceAll('"', '""')}"`)
    .join('.')
}

/**
 * True for a name that can be asked for: ASCII, as Postgres writes identifiers, each part of it.
 * Others exist (letters beyond ASCII), but which bytes they are depends on the session's encoding.
 */
export function isPlainName(name: string): boolean {
  return /^[a-z_][a-z0-9_$]*(?:\.[a-z_][a-z0-9_$]*)*$/.test(name)
}
