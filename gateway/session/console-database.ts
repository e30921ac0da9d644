import { Token } from './sql-lexer.ts'
import type { SqlToken } from './sql-tokens.ts'

/** The name of the admin console, as a client's database. */
export const CONSOLE_DATABASE = 'multigres'

/**
 * Whether a statement makes a database with the console's name, or renames one to it: nobody could
 * ever connect to it.
 */
export function takesConsoleName(tokens: readonly SqlToken[]): boolean {
  const [verb, what, name, rename, to, target] = tokens
  if (!isWord(what, 'database')) return false
  if (isWord(verb, 'create')) return name?.text === CONSOLE_DATABASE
  const renames = isWord(verb, 'alter') && isWord(rename, 'rename') && isWord(to, 'to')
  return renames && target?.text === CONSOLE_DATABASE
}

function isWord(token: SqlToken | undefined, text: string): boolean {
  return token?.kind === Token.Word && token.text === text
}
