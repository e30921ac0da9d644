// Goal: a batch that comes in pieces and is refused before it began comes again as a whole: no
// answer of it is lost.
// Method: defaults of the role change all the while, so that poolers keep their word on sessions
// that rest only now and then; scripts with a Flush in them are played in new sessions meanwhile.
import { expect, test } from 'bun:test'
import { bind, execute, flush, parse } from '../../shared/pgwire/frontend.ts'
import { play } from '../fuzz/wire-play.ts'
import { startCluster } from '../support/cluster.ts'
import { Frontend } from '../support/frontend.ts'

const ROUNDS = 40
const LANES = 6
const SCRIPTS: Record<string, { messages: Buffer[]; answers: string }> = {
  good: {
    messages: [parse('select 7'), bind(), flush(), execute()],
    answers: 'ParseComplete, BindComplete, DataRow 7, CommandComplete SELECT 1',
  },
  failed: {
    messages: [parse('select 1'), flush(), bind({ statement: 's2' })],
    answers: 'ParseComplete, ErrorResponse ERROR 26000 | prepared statement "s2" does not exist',
  },
}
const REST =
  'ReadyForQuery idle, RowDescription ?column?, DataRow 424242, CommandComplete SELECT 1, ReadyForQuery idle'

test('each piece of a batch is answered, whatever its pooler has forgotten', async () => {
  await using cluster = await startCluster({ poolers: 1 })
  const address = { host: '127.0.0.1', port: Number(new URL(cluster.url).port) }
  let over = false
  const change = async (): Promise<void> => {
    await using frontend = await Frontend.connect(address)
    for (let at = 0; !over; at++) {
      await frontend.query(`alter role postgres set work_mem = '${5 + (at % 7)}MB'`)
    }
  }
  const lane = async (): Promise<void> => {
    for (let round = 0; round < ROUNDS; round++) {
      for (const { messages, answers } of Object.values(SCRIPTS)) {
        const { lines } = await play(address, Buffer.concat(messages))
        expect(lines.join(', ')).toBe(`${answers}, ${REST}`)
      }
    }
  }
  const changing = change()
  try {
    await Promise.all(Array.from({ length: LANES }, lane))
  } finally {
    over = true
    await changing
  }
}, 60_000)
