import { expect, test } from 'bun:test'
import { functionCall, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import type { Server } from '../support/servers.ts'

const LENGTH_OF_TEXT = 1317 // pg_catalog.length(text)
const INT4_DIVIDE = 154 // pg_catalog.int4div(integer, integer)
const int4 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

/** FunctionCall, the fast path that libpq uses for large objects. */
export function functionCallTests(server: () => Server): void {
  test('a call answers with its value and ReadyForQuery', async () => {
    await using frontend = await server().connect()
    frontend.send(functionCall(LENGTH_OF_TEXT, { arguments: ['abcde'] }))
    expect(await frontend.untilReadyForQuery()).toEqual([
      'FunctionCallResponse 5',
      'ReadyForQuery idle',
    ])
    frontend.send(functionCall(LENGTH_OF_TEXT, { arguments: [null] }))
    expect((await frontend.untilReadyForQuery())[0]).toBe('FunctionCallResponse NULL')
  })

  test('binary arguments and results', async () => {
    await using frontend = await server().connect()
    const call = { formats: [1] as const, arguments: [int4(42), int4(6)], resultFormat: 1 as const }
    frontend.send(functionCall(INT4_DIVIDE, call))
    const message = await frontend.message()
    expect(message.name === 'FunctionCallResponse' && message.value).toEqual(int4(7))
    expect(await frontend.untilReadyForQuery()).toEqual(['ReadyForQuery idle'])
  })

  test('a failing call is an error with ReadyForQuery, and fails a transaction', async () => {
    await using frontend = await server().connect()
    const failing = functionCall(INT4_DIVIDE, { arguments: ['1', '0'] })
    frontend.send(failing)
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ErrorResponse ERROR 22012',
      'ReadyForQuery idle',
    ])
    frontend.send(query('begin'), failing, functionCall(LENGTH_OF_TEXT, { arguments: ['a'] }))
    expect((await frontend.untilReady(3)).slice(2)).toEqual([
      'ErrorResponse ERROR 22012',
      'ReadyForQuery failed',
      'ErrorResponse ERROR 25P02',
      'ReadyForQuery failed',
    ])
  })

  test('an unknown function is 42883', async () => {
    await using frontend = await server().connect()
    frontend.send(functionCall(1, {}))
    expect((await frontend.untilReadyForQuery())[0]).toBe('ErrorResponse ERROR 42883')
  })

  test('calls stand between Queries and extended batches of one write', async () => {
    await using frontend = await server().connect()
    const call = functionCall(LENGTH_OF_TEXT, { arguments: ['ab'] })
    frontend.send(call, query('select 1'), call, parse('select 2'), sync(), call)
    expect(await frontend.untilReady(5)).toEqual([
      'FunctionCallResponse 2',
      'ReadyForQuery idle',
      'RowDescription ?column?',
      'DataRow 1',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
      'FunctionCallResponse 2',
      'ReadyForQuery idle',
      'ParseComplete',
      'ReadyForQuery idle',
      'FunctionCallResponse 2',
      'ReadyForQuery idle',
    ])
  })

  test('a large object is written and read by calls, as libpq does it', async () => {
    await using frontend = await server().connect()
    await frontend.query('begin')
    const call = async (
      name: string,
      types: string,
      values: (string | Buffer)[],
    ): Promise<string> => {
      const [oid] = await frontend.row(`select 'pg_catalog.${name}(${types})'::regprocedure::oid`)
      frontend.send(functionCall(Number(oid), { arguments: values }))
      return (await frontend.untilReadyForQuery())[0] ?? ''
    }
    const [object] = await frontend.row('select lo_creat(-1)')
    const opened = await call('lo_open', 'oid,integer', [object ?? '', String(0x60000)])
    expect(opened).toBe('FunctionCallResponse 0')
    expect(await call('lowrite', 'integer,bytea', ['0', '\\x616263'])).toEndWith(' 3')
    expect(await call('lo_lseek', 'integer,integer,integer', ['0', '1', '0'])).toEndWith(' 1')
    expect(await call('loread', 'integer,integer', ['0', '9'])).toEndWith(' \\x6263')
    expect(await call('lo_close', 'integer', ['0'])).toEndWith(' 0')
    await frontend.query('rollback')
  })
}
