import type { ChurnSession } from './churn-client.ts'
import { OBJECT_MOVES } from './moves-objects.ts'
import { SETTINGS_MOVES } from './moves-settings.ts'
import { STATEMENT_MOVES } from './moves-statements.ts'
import { TRANSACTION_MOVES } from './moves-transactions.ts'

/** Something that a client does, and compares with its model. */
export interface Move {
  readonly name: string
  readonly weight: number
  readonly make: (session: ChurnSession) => Promise<void>
  /** When it can be made; always without. */
  readonly when?: (session: ChurnSession) => boolean
}

/** All moves. */
export const MOVES: readonly Move[] = [
  ...SETTINGS_MOVES,
  ...STATEMENT_MOVES,
  ...OBJECT_MOVES,
  ...TRANSACTION_MOVES,
]

/** One that can be made now, by weight. */
export function chooseMove(session: ChurnSession): Move {
  const possible = MOVES.filter(({ when }) => when?.(session) ?? true)
  const total = possible.reduce((sum, { weight }) => sum + weight, 0)
  let left = session.random.next() * total
  for (const move of possible) if ((left -= move.weight) < 0) return move
  return possible[0] as Move
}
