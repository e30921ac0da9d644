import { describe, expect, test } from 'bun:test'
import { PgError } from '../../shared/errors/pg-error.ts'
import { parseCommands, type Command } from './command.ts'

function one(text: string): Command | undefined {
  const [command, ...more] = parseCommands(text)
  expect(more).toEqual([])
  return command
}

function refusal(text: string): string {
  try {
    return `taken: ${JSON.stringify(parseCommands(text))}`
  } catch (error) {
    return error instanceof PgError ? error.sqlstate : String(error)
  }
}

describe('commands', () => {
  test('case, blanks, comments and the end do not matter', () => {
    const show = { verb: 'SHOW', table: 'POOLS' }
    for (const text of [
      'SHOW POOLS',
      'show pools;',
      '  Show\n\tPools ; ; ',
      'show/* all /* of */ them */pools -- please',
      '-- first\nshow pools',
    ]) {
      expect<unknown>(one(text)).toEqual(show)
    }
  })

  test('nothing is no command', () => {
    for (const text of ['', ' ', ';', ' ;; ', '-- nothing', '/* nothing */;']) {
      expect(parseCommands(text)).toEqual([])
    }
  })

  test('several stand in one text', () => {
    expect<unknown>(parseCommands('pause a; show state; resume')).toEqual([
      { verb: 'PAUSE', database: 'a' },
      { verb: 'SHOW', table: 'STATE' },
      { verb: 'RESUME', database: undefined },
    ])
  })

  test('names keep their case, with quotes or without', () => {
    expect(one('PAUSE MyDb')).toMatchObject({ database: 'MyDb' })
    expect(one('PAUSE "a ""b"" ; c"')).toMatchObject({ database: 'a "b" ; c' })
    expect(one("KILL 'x''y'")).toMatchObject({ database: "x'y" })
    expect(one('DISABLE my-db.1')).toMatchObject({ database: 'my-db.1' })
    expect(one('PAUSE Größe')).toMatchObject({ database: 'Größe' })
  })

  test('SET takes words, texts, lists and units', () => {
    const set = (text: string): unknown => one(text)
    expect(set('SET clients_max = 5')).toEqual({ verb: 'SET', name: 'clients_max', value: '5' })
    expect(set("set Clients_Max TO '5'")).toMatchObject({ name: 'clients_max', value: '5' })
    expect(set("SET pause_timeout='1min'")).toMatchObject({ value: '1min' })
    expect(set('SET admin_users = ada, bob')).toMatchObject({ value: 'ada,bob' })
    expect(set("SET admin_users = ''")).toMatchObject({ value: '' })
    expect(set('SET session application_name = x')).toEqual({ verb: 'NOTHING', tag: 'SET' })
  })

  test('clients are named by their id or their pointer', () => {
    expect<unknown>(one('KILL_CLIENT 17')).toEqual({ verb: 'KILL_CLIENT', session: 17 })
    expect<unknown>(one('kill_client 0x1F')).toEqual({ verb: 'KILL_CLIENT', session: 31 })
  })

  test('what is no command is a syntax error', () => {
    for (const text of [
      'SELECT 1',
      'SHOW',
      'SHOW POOL',
      'SHOW POOLS NOW',
      'SHOW constructor',
      'PAUSE a b',
      'PAUSE =',
      'DISABLE',
      'ENABLE',
      'SET',
      'SET a',
      'SET a =',
      'SET = 1',
      'KILL_CLIENT',
      'KILL_CLIENT x',
      'RELOAD now',
      'SHUTDOWN soon',
      'SHUTDOWN WAIT_FOR_CLIENTS please',
      '"SHOW" POOLS',
      "PAUSE 'a",
      'PAUSE "a',
      'SHOW POOLS /* and',
      '\\d',
    ]) {
      expect(`${text}: ${refusal(text)}`).toBe(`${text}: 42601`)
    }
  })

  test('what a gateway cannot do is refused by name', () => {
    for (const text of ['SHOW FDS', 'SUSPEND']) expect(refusal(text)).toBe('0A000')
  })
})
