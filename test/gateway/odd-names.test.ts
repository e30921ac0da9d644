// Goal: names that are no UTF-8, or too long, mean through the gateway what they mean to Postgres.
// Method: each message straight and through the gateway; ~ stands for the byte 0xff.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  bind,
  close,
  describe as describes,
  execute,
  parse,
  query,
  startup,
  sync,
} from '../../shared/pgwire/frontend.ts'
import { Frontend } from '../support/frontend.ts'
import { startHarness, VIAS, type Harness, type Via } from './harness.ts'

let harness: Harness
beforeAll(async () => {
  harness = await startHarness({ pooler: { poolSize: 2 } })
}, 60_000)
afterAll(() => harness[Symbol.asyncDispose]())

/** With 0xff in place of each ~. */
function odd(message: Buffer): Buffer {
  return Buffer.from(message.map((byte) => (byte === 0x7e ? 0xff : byte)))
}

const LONG = 'x'.repeat(80)
const SCRIPTS: Readonly<Record<string, readonly Buffer[]>> = {
  'Parse of a name': [parse('select 1', { name: 'a~b' }), sync()],
  'Parse of a text': [parse("select '~'", { name: 'a' }), sync()],
  'Query of a text': [query("select '~'")],
  'Bind of a statement': [bind({ statement: 'a~' }), execute(), sync()],
  'Bind of a portal': [parse('select 1'), bind({ portal: '~' }), execute({ portal: '~' }), sync()],
  'Describe of a statement': [describes({ statement: '~' }), sync()],
  'Describe of a portal': [describes({ portal: '~' }), sync()],
  'Close of a statement': [close({ statement: '~' }), sync()],
  'Close of a portal': [close({ portal: '~' }), sync()],
  'Execute of a portal': [execute({ portal: '~' }), sync()],
  'a value': [parse('select $1::text'), bind({ values: ['~'] }), execute(), sync()],
  'long names': [
    parse('select 1', { name: `${LONG}a` }),
    parse('select 2', { name: `${LONG}b` }),
    sync(),
  ],
  'PREPARE under a name': [query('prepare "a~" as select 1')],
  LISTEN: [query('listen "a~"')],
  SET: [query("set application_name = 'a~'")],
}

const said = async (via: Via, messages: readonly Buffer[]): Promise<unknown> => {
  await using frontend = await harness.connect(via)
  frontend.send(...messages.map(odd))
  const lines = await frontend.untilReadyForQuery()
  const after = await frontend.query('select 1')
  return { lines, after, errors: frontend.errors.map(({ message }) => message) }
}

test.each(Object.keys(SCRIPTS))('%s is answered as by Postgres', async (name) => {
  const messages = SCRIPTS[name] as readonly Buffer[]
  expect(await said('gateway', messages)).toEqual(await said('postgres', messages))
})

describe.each(VIAS)('in the startup packet via %s', (via) => {
  const login = async (parameters: Record<string, string>): Promise<Frontend> => {
    const frontend = await Frontend.open(harness.address(via))
    frontend.send(odd(startup({ user: 'postgres', database: 'postgres', ...parameters })))
    return frontend
  }

  test.each(['user', 'database'])('such a %s is refused', async (field) => {
    await using frontend = await login({ [field]: 'a~' })
    const [first] = await frontend.bytes(1)
    expect(['R', 'E']).toContain(String.fromCharCode(first ?? 0)) // a challenge, or an error
  })

  test('an application_name is let in, its bytes spelled out', async () => {
    await using other = await Frontend.open(harness.address(via))
    const plain = other.send.bind(other)
    other.send = (...messages: Buffer[]) => {
      plain(...messages.map((message) => (message[0] === 0 ? odd(message) : message)))
    }
    await other.login({ parameters: { application_name: 'a~b' } })
    expect(await other.row('show application_name')).toEqual(['a\\xffb'])
  })
})
