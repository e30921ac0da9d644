// Goal: a client cannot tell the gateway from Postgres by what it is answered.
// Method: every script runs straight at Postgres and through the gateway, with one expectation.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  bind,
  close,
  copyData,
  copyDone,
  copyFail,
  describe as describeMessage,
  execute,
  flush,
  functionCall,
  parse,
  query,
  sync,
} from '../../shared/pgwire/frontend.ts'
import { startHarness, VIAS, type Harness } from './harness.ts'

let harness: Harness
beforeAll(async () => {
  harness = await startHarness()
}, 60_000)
afterAll(() => harness[Symbol.asyncDispose]())

describe.each(VIAS)('batches via %s', (via) => {
  test('a simple query', async () => {
    await using frontend = await harness.connect(via)
    expect(await frontend.query('select 1 as a, null as b')).toMatchSnapshot('simple')
  })
})
