import { Token } from './sql-lexer.ts'
import type { SqlToken } from './sql-tokens.ts'

/** The arguments of the call whose parenthesis opens at `at`, each as its tokens. */
export function argumentsAt(tokens: readonly SqlToken[], at: number): SqlToken[][] {
  const all: SqlToken[][] = []
  let argument: SqlToken[] = []
  let depth = 0
  for (let i = at; i < tokens.length; i++) {
    const token = tokens[i] as SqlToken
    if (token.kind === Token.Open && depth++ === 0) continue
    if (token.kind === Token.Close && --depth === 0) break
    if (token.kind === Token.Comma && depth === 1) {
      all.push(argument)
      argument = []
    } else {
      argument.push(token)
    }
  }
  all.push(argument)
  return all
}

/** A literal, with a cast to text or without. Undefined for everything else. */
export function literalOf(argument: readonly SqlToken[]): string | undefined {
  const [first, ...rest] = argument
  return first?.kind === Token.String && isCast(rest) ? first.text : undefined
}

/** The number of a parameter, with a cast to text or without. Undefined for everything else. */
export function parameterOf(argument: readonly SqlToken[]): number | undefined {
  const [first, ...rest] = argument
  if (first?.parameter === undefined) return undefined
  const digits = rest.findIndex(({ text }) => !/^[0-9]$/.test(text))
  return isCast(digits < 0 ? [] : rest.slice(digits)) ? first.parameter : undefined
}

const isCast = (tokens: readonly SqlToken[]): boolean =>
  tokens.length === 0 || tokens.map(({ text }) => text).join('') === '::text'
