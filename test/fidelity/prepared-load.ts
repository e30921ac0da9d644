// Goal: sessions that prepare many distinct statements run all of them or are refused at Parse, and
// what gateway and pooler keep of them is bounded.
// Method: each session prepares its statements, then runs every one and checks its answer. Sessions
// come in stages, so that what the second takes tells what a session takes from what any load does.
import { bind, execute, parse, sync } from '../../shared/pgwire/frontend.ts'
import { Frontend, type Address } from '../support/frontend.ts'
import { readAnswer, textOf } from './exchange.ts'

/** What was done. */
export interface PreparedLoad {
  prepared: number
  /** 54000 at Parse. */
  refused: number
  ran: number
  readonly wrong: string[]
}

const AT_ONCE = 25
/** Batches of one session under way at once. */
const PIPELINED = 50
const REFUSED = '54000'

/** Statement `i` of a session, which no other has. */
const textOfStatement = (session: number, i: number, bytes: number): string =>
  `select $1::text || ' of ${session}/${i} `.padEnd(bytes - 1, '.') + "'"

/** How much is prepared. */
export interface PreparedLoadOptions {
  readonly address: Address
  /** Of all stages so far, at the end of each. */
  readonly stages: readonly number[]
  /** Of each session. */
  readonly statements: number
  /** Length of a text. */
  readonly textBytes: number
}

/**
 * All sessions stay open to the end: what they hold is held at once.
 * @param staged called when everything of a stage is prepared and has run.
 */
export async function loadPrepared(
  options: PreparedLoadOptions,
  staged: () => Promise<void> | void,
): Promise<PreparedLoad> {
  const { address, stages } = options
  const load: PreparedLoad = { prepared: 0, refused: 0, ran: 0, wrong: [] }
  const open: { frontend: Frontend; id: number; names: number[]; ran?: boolean }[] = []
  let next = 0
  try {
    for (const sessions of stages) {
      await inLanes(async () => {
        while (next < sessions) {
          const id = next++
          const frontend = await Frontend.connect(address)
          open.push({ frontend, id, names: await prepareAll(frontend, id, options, load) })
        }
      })
      const waiting = open.filter(({ ran }) => ran !== true)
      await inLanes(async () => {
        for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
          one.ran = true
          await runAll(one.frontend, one.id, one.names, load)
        }
      })
      await staged()
    }
  } finally {
    await Promise.all(open.map(({ frontend }) => frontend[Symbol.asyncDispose]()))
  }
  return load
}

const inLanes = (lane: () => Promise<void>): Promise<unknown> =>
  Promise.all(Array.from({ length: AT_ONCE }, lane))

/** Which of them it holds. Each Parse in a batch of its own, all of them under way at once. */
async function prepareAll(
  frontend: Frontend,
  id: number,
  { statements, textBytes }: PreparedLoadOptions,
  load: PreparedLoad,
): Promise<number[]> {
  const held: number[] = []
  for (let from = 0; from < statements; from += PIPELINED) {
    const numbers = range(from, Math.min(statements, from + PIPELINED))
    frontend.send(
      ...numbers.flatMap((i) => [
        parse(textOfStatement(id, i, textBytes), { name: `s${i}` }),
        sync(),
      ]),
    )
    for (const i of numbers) {
      const { error } = await readAnswer(frontend, [])
      if (error === undefined) held.push(i)
      else if (error.code === REFUSED) load.refused += 1
      else load.wrong.push(`Parse ${id}/${i}: ${error.message}`)
    }
  }
  load.prepared += held.length
  return held
}

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, at) => from + at)

async function runAll(
  frontend: Frontend,
  id: number,
  names: readonly number[],
  load: PreparedLoad,
): Promise<void> {
  for (let from = 0; from < names.length; from += PIPELINED) {
    const numbers = names.slice(from, from + PIPELINED)
    frontend.send(
      ...numbers.flatMap((i) => [
        bind({ statement: `s${i}`, values: ['answer'] }),
        execute(),
        sync(),
      ]),
    )
    for (const i of numbers) {
      const { rows, error } = await readAnswer(frontend, [])
      const said = rows[0] === undefined ? error?.message : textOf(rows[0])[0]
      if (said?.startsWith(`answer of ${id}/${i} `) === true) load.ran += 1
      else load.wrong.push(`Execute ${id}/${i}: ${said}`)
    }
  }
}
