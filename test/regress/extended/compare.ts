import type { Exchange } from './player.ts'

/** How the statements of one test compare. */
export type Comparison = {
  readonly statements: number
  /** Answered differently by Postgres itself, run twice; or rows in an order nobody asked for. */
  readonly noise: number
  readonly differing: number
  /** The differing statements with both answers. */
  readonly text: string
}

const LINES_SHOWN = 12

/** Compares a run with two direct ones, statement by statement. */
export function compareExchanges(
  direct: readonly [readonly Exchange[], readonly Exchange[]],
  other: readonly Exchange[],
): Comparison {
  const [first, second] = direct
  const count = Math.max(first.length, other.length)
  let noise = 0
  const parts: string[] = []
  for (let at = 0; at < count; at++) {
    const [a, b, c] = [textOf(first[at]), textOf(second[at]), textOf(other[at])]
    if (a === c || b === c) continue
    if (sameUnordered(a, c)) noise++
    else if (a === b) parts.push(differenceOf(first[at], other[at]))
    else noise++
  }
  return { statements: count, noise, differing: parts.length, text: parts.join('\n') }
}

/** Names of temporary schemas have the number of the backend; VERBOSE tells how long it took. */
function textOf(exchange: Exchange | undefined): string {
  if (exchange === undefined) return ''
  return [exchange.sql, ...exchange.lines]
    .join('\n')
    .replaceAll(/\bpg_temp_\d+/g, 'pg_temp_N')
    .replaceAll(/\b(user|system|elapsed): \d+\.\d+ s\b/g, '$1: N s')
}

function sameUnordered(a: string, b: string): boolean {
  if (a.length !== b.length || /\border\s+by\b/i.test(a)) return false
  return a.split('\n').toSorted().join('\n') === b.split('\n').toSorted().join('\n')
}

function differenceOf(direct: Exchange | undefined, other: Exchange | undefined): string {
  const head = `${direct?.line ?? other?.line}: ${direct?.sql ?? other?.sql ?? ''}`
  const same = direct?.sql === other?.sql ? [] : [`  + ran instead: ${other?.sql ?? 'nothing'}`]
  const [minus, plus] = [direct?.lines ?? [], other?.lines ?? []]
  let from = 0
  while (from < minus.length && minus[from] === plus[from]) from++
  const show = (lines: readonly string[], sign: string): string[] =>
    lines.slice(from, from + LINES_SHOWN).map((line) => `  ${sign} ${line}`)
  return [head, ...same, ...show(minus, '-'), ...show(plus, '+'), ''].join('\n')
}
