// Goal: a COPY that fails before it has read anything leaves no answer unsaid. Postgres then takes
// the Sync behind its Execute as one of its own, and the one behind the data as another.
// Method: one script, straight at Postgres and through the gateway, with the data sent at different
// moments: at once, when the backend asks for it, and when it has failed already.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  bind,
  copyData,
  copyDone,
  execute,
  parse,
  query,
  sync,
} from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import { startHarness, VIAS, type Harness } from './harness.ts'

let harness: Harness
beforeAll(async () => {
  harness = await startHarness({
    pooler: { poolSize: 1, poolWarmSize: 0 },
    postgres: { sql: ['create table cf (a text, b int)'] },
  })
})
afterAll(() => harness[Symbol.asyncDispose]())

const COPY = Buffer.concat([
  parse('copy cf (a) from stdin (format csv, freeze)'),
  bind(),
  execute(),
  sync(),
])
const DATA = Buffer.concat([copyData(Buffer.from('a\n')), copyDone(), sync()])
const FAILED = ['ParseComplete', 'BindComplete', 'CopyInResponse', 'ErrorResponse ERROR 55000']

/** How the data are sent, and what was answered by then. */
const MOMENTS: Record<string, (frontend: Frontend) => Promise<string[]>> = {
  'with the COPY': async (frontend) => {
    frontend.send(COPY, DATA)
    return []
  },
  'right behind it': async (frontend) => {
    frontend.send(COPY)
    frontend.send(DATA)
    return []
  },
  'when they are asked for': async (frontend) => {
    frontend.send(COPY)
    const lines = await frontend.until('CopyInResponse')
    frontend.send(DATA)
    return lines
  },
  'when it has failed': async (frontend) => {
    frontend.send(COPY)
    const lines = await frontend.until('ErrorResponse')
    frontend.send(DATA)
    return lines
  },
  'when that was told to its end': async (frontend) => {
    frontend.send(COPY)
    const lines = await frontend.untilReadyForQuery()
    frontend.send(DATA)
    return lines
  },
}
const ROUNDS = 20

describe.each(VIAS)('data that nobody reads, via %s', (via) => {
  describe.each(['idle', 'failed'])('%s', (status) => {
    test.each(Object.keys(MOMENTS))('%s', async (moment) => {
      for (let round = 0; round < ROUNDS; round++) {
        await using frontend = await harness.connect(via)
        if (status === 'failed') await frontend.query('begin')
        const lines = await (MOMENTS[moment] as (typeof MOMENTS)[string])(frontend)
        frontend.send(query('select 1 as last'))
        const ready = `ReadyForQuery ${status}`
        while (lines.filter((line) => line === ready).length < 3) {
          lines.push(...(await frontend.untilReadyForQuery()))
        }
        const last =
          status === 'idle'
            ? ['RowDescription last', 'DataRow 1', 'CommandComplete SELECT 1']
            : ['ErrorResponse ERROR 25P02']
        expect(lines).toEqual([...FAILED, ready, ready, ...last, ready])
      }
    })
  })
})

describe.each(VIAS)('a Query behind the bad data of a COPY, via %s', (via) => {
  test.each(['idle', 'failed'])('%s', async (status) => {
    const ready = `ReadyForQuery ${status}`
    const bad = Buffer.concat([query('copy cf (b) from stdin'), copyData(Buffer.from('x\n'))])
    const one =
      status === 'idle'
        ? ['RowDescription one', 'DataRow 1', 'CommandComplete SELECT 1', ready]
        : ['ErrorResponse ERROR 25P02', ready]
    for (let round = 0; round < ROUNDS; round++) {
      await using frontend = await harness.connect(via)
      if (status === 'failed') await frontend.query('begin')
      frontend.send(bad, query('select 1 as one'), query('select 1 as one'))
      const expected = ['CopyInResponse', 'ErrorResponse ERROR 22P02', ready, ...one, ...one]
      const lines: string[] = []
      while (lines.length < expected.length && !lines.at(-1)?.includes('FATAL')) {
        lines.push(...(await frontend.until('')))
      }
      // Or the gateway gives it up: never an answer less, or in another order.
      const fatal = via === 'gateway' ? lines.indexOf('ErrorResponse FATAL 08P01') : -1
      expect(lines.slice(0, fatal < 0 ? undefined : fatal)).toEqual(
        expected.slice(0, fatal < 0 ? undefined : fatal),
      )
    }
  })
})
