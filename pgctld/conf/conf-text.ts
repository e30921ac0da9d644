// Lines of postgresql.conf: `name = 'value'`.
import { PgError } from '../../shared/errors/pg-error.ts'

const NAME = /^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$/
const LINE = /^\s*([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?)\s*(?:=|\s)/

/**
 * One line that sets `name`. Quotes and backslashes are doubled, as Postgres's own ALTER SYSTEM
 * does.
 * @throws PgError invalid_parameter_value for a name that is none, or a value of several lines.
 */
export function confLine(name: string, value: string): string {
  if (!NAME.test(name)) {
    throw new PgError('invalid_parameter_value', `"${name}" is not the name of a setting`)
  }
  if (/[\n\r\0]/.test(value)) {
    throw new PgError('invalid_parameter_value', `the value of ${name} has more than one line`)
  }
  return `${name} = '${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
}

/** The setting that a line sets, in lower case; undefined for comments, blanks and includes. */
export function settingOf(line: string): string | undefined {
  const name = LINE.exec(line)?.[1]?.toLowerCase()
  return name?.startsWith('include') === true ? undefined : name
}

/**
 * `text` with each setting of `changes` set once, at its end; `''` removes it. Other lines stay.
 * @throws PgError invalid_parameter_value as `confLine`.
 */
export function changeSettings(text: string, changes: Readonly<Record<string, string>>): string {
  const changed = new Set(Object.keys(changes).map((name) => name.toLowerCase()))
  const kept = text.split('\n').filter((line) => !changed.has(settingOf(line) ?? ''))
  while (kept.at(-1) === '') kept.pop()
  const added = Object.entries(changes)
    .filter(([, value]) => value !== '')
    .map(([name, value]) => confLine(name, value))
  return [...kept, ...added, ''].join('\n')
}
