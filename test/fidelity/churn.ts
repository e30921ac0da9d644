// Goal: no client can tell that others use the same backends.
// Method: many clients, few backends, every kind of session state. Each client chooses its moves by
// a seed and checks every answer against a model of its own session; everything that a session
// makes bears its mark, so that a leak is told from another wrong answer.
import type { Address } from '../support/frontend.ts'
import { Random } from '../support/random.ts'
import { startSession, type ChurnSession } from './churn-client.ts'
import { readDefaults, readSeeds, setUp } from './churn-setup.ts'
import { World, type Tally } from './churn-world.ts'
import { SessionEnded } from './exchange.ts'
import { checkHeard } from './moves-objects.ts'
import { chooseMove } from './moves.ts'

/** One run. */
export interface ChurnOptions {
  readonly address: Address
  readonly clients: number
  readonly seconds: number
  readonly seed: number
}

/** What a run gave. */
export interface ChurnResult extends Tally {
  /** Batches answered, by client. */
  readonly progress: readonly number[]
}

/** Moves of one session, at least and at most. */
const LIFE = [5, 60] as const
const CUT_CHANCE = 0.15
/** A run with more wrong answers than this ends early. */
const WRONG_MAX = 20

/** Runs it. Never throws for a wrong answer: that is counted. */
export async function runChurn(options: ChurnOptions): Promise<ChurnResult> {
  const { address, clients, seconds, seed } = options
  await setUp(address)
  const world = new World(await readSeeds(address), await readDefaults(address))
  const until = performance.now() + seconds * 1000
  const progress = await Promise.all(
    Array.from({ length: clients }, (_, i) => {
      const random = new Random(seed * 1009 + i)
      return client(address, world, random, () => performance.now() < until && !full(world))
    }),
  )
  return { ...world.tally, progress }
}

const full = ({ tally }: World): boolean => tally.wrong.length + tally.leaks.length > WRONG_MAX

/** Batches answered. */
async function client(
  address: Address,
  world: World,
  random: Random,
  goesOn: () => boolean,
): Promise<number> {
  let moves = 0
  while (goesOn()) {
    const session = await startSession(address, world, random)
    if (session !== undefined) moves += await live(session, goesOn)
  }
  return moves
}

async function live(session: ChurnSession, goesOn: () => boolean): Promise<number> {
  const { random, world } = session
  const [least, most] = LIFE
  let left = least + random.integer(most - least)
  let moves = 0
  try {
    for (; left > 0 && goesOn(); left -= 1) {
      const move = chooseMove(session)
      await move.make(session)
      world.count(move.name)
      session.checkTold()
      moves += 1
    }
    await checkHeard(session)
  } catch (error) {
    ended(session, error)
  }
  session.releaseLocks()
  session.stopListening()
  if (random.chance(CUT_CHANCE)) session.frontend.destroy()
  else await session.frontend[Symbol.asyncDispose]()
  return moves
}

function ended(session: ChurnSession, error: unknown): void {
  const { tally } = session.world
  if (error instanceof SessionEnded && error.code === '53300') tally.tooMany += 1
  else session.wrong(String(error))
}

/** For a person, a line each. */
export function describeChurn(result: ChurnResult): string[] {
  const { progress } = result
  const sorted = progress.toSorted((a, b) => a - b)
  const [least, median] = [sorted[0], sorted[Math.floor(sorted.length / 2)]]
  return [
    `${result.batches} batches, ${result.sessions} sessions, ${result.transactions} transactions`,
    `wrong ${result.wrong.length}, leaks ${result.leaks.length}, 53300: ${result.tooMany}`,
    `moves of a client: least ${least}, median ${median}; notifications ${result.heard}`,
    `literals read again ${result.literalsReadAgain}`,
  ]
}
