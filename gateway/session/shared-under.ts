// Under what a statement is shared besides its bytes: everything else that Postgres reads a text by
// when it is prepared, and keeps.
import type { ExtendedContext } from './extended.ts'
import { Trait } from './traits.ts'

/**
 * Literals are read by settings and by reported values, all texts by some settings; and a new
 * function or cast gives a text another meaning, so that what was prepared before the catalogs
 * changed is not what is prepared after.
 */
export function sharedUnder(context: ExtendedContext, traits: number): string {
  const { settings, traffic, watched, vectorId } = context
  const since = `${traffic.database}.${traffic.generation}.${watched.version}`
  if ((traits & Trait.Literal) === 0) return `${since} ${settings.names}`
  return `${since} ${settings.literals}@${vectorId}`
}
