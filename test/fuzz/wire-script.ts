// Scripts of the fuzzer: bytes that a client might send after startup. The same seed gives the same
// script, and its outcome depends on nothing but the script: not on time, on what other scripts did,
// or on which of two servers of one version plays it.
import * as frontend from '../../shared/pgwire/frontend.ts'
import type { Random } from '../support/random.ts'

const STATEMENTS = [
  'select 1',
  'select 1; select 2',
  'select 1/0',
  'select nothing from nowhere',
  'selec',
  '',
  ';',
  '-- only a comment',
  'begin',
  'begin isolation level serializable',
  'start transaction read only',
  'commit',
  'rollback',
  'end; begin',
  'savepoint a',
  'rollback to a',
  'release a',
  'select 1; select 1/0; select 3',
  'begin; select 1/0',
  "select 'Ä', $$dollar$$, E'\\n'",
  'select generate_series(1, 500)',
  "select repeat('x', 100000)",
  'copy (select 1) to stdout',
  'copy (select generate_series(1, 3)) to stdout; select 4',
  'create temp table fuzz (i int)',
  'create temp table fuzz (i int); copy fuzz from stdin',
  'copy fuzz from stdin',
  'copy fuzz from stdin; select count(*) from fuzz',
  'insert into fuzz values (1) returning i',
  'select * from fuzz',
  'drop table fuzz',
  'values ($1::int)',
  'select $1::int + $2::int',
  'select $1::text',
  "set timezone = 'Asia/Tokyo'",
  "set local timezone = 'Asia/Tokyo'",
  'show timezone',
  'reset all',
  "set work_mem = '3MB'",
  'show work_mem',
  // Names that no Parse has: what a pipeline does to one name by both ways is known to differ.
  'prepare q1 as select 7',
  'execute q1',
  'deallocate q1',
  'select name, from_sql from pg_prepared_statements order by name',
  'declare p1 cursor for select generate_series(1, 5)',
  'fetch 2 from p1',
  'close p1',
  'listen fuzz',
  'notify unheard', // scripts run side by side in one database
  'unlisten *',
  "do $$ begin raise notice 'told'; end $$",
  "do $$ begin raise exception 'thrown' using errcode = 'ZZ001'; end $$",
  'select pg_advisory_lock_shared(1)',
  'select count(*) from pg_locks where locktype = $$advisory$$ and pid = pg_backend_pid()',
  'vacuum pg_am',
  'select set_config($1, $2, true)',
]
/**
 * Not in the middle of a batch: the gateway believes in what they do when they have answered, and a
 * Parse behind them in the same batch finds its name taken.
 */
const CLEARING = ['discard all', 'deallocate all']
const NAMES = ['', '', 's1', 's2', 'mg:1', 'ä']
const PORTALS = ['', '', 'p1']
const VALUES = ['7', 'x', '', 'timezone', null] as const
const LENGTH_OF_TEXT = 1317 // pg_catalog.length(text)
const INT4_DIVIDE = 154
const SOUND_MAX = 40
const BROKEN_MAX = 10

/** Bytes of messages in any order: many sound ones, or fewer of which some are broken. */
export function wireScript(random: Random): Buffer {
  const messages: Buffer[] = []
  const allSound = random.chance(0.6)
  const count = 1 + random.integer(allSound ? SOUND_MAX : BROKEN_MAX)
  const brokenShare = allSound ? 0 : 0.15
  for (let i = 0; i < count; i++) {
    messages.push(random.chance(brokenShare) ? broken(random) : sound(random))
  }
  return Buffer.concat(messages)
}

function sound(random: Random): Buffer {
  const statement = random.pick(STATEMENTS)
  const name = random.pick(NAMES)
  const portal = random.pick(PORTALS)
  const target = random.chance(0.5) ? { statement: name } : { portal }
  switch (random.integer(15)) {
    case 0:
    case 1:
      return frontend.query(random.chance(0.05) ? random.pick(CLEARING) : statement)
    case 2:
    case 3:
      return frontend.parse(statement, { name, types: random.chance(0.1) ? [23] : [] })
    case 4:
    case 5:
      return bind(random, name, portal)
    case 6:
      return frontend.describe(target)
    case 7:
    case 8:
      return frontend.execute({ portal, rowsMax: random.integer(3) })
    case 9:
      return frontend.close(target)
    case 10:
      return frontend.flush()
    case 11:
      return random.pick([
        frontend.copyData(Buffer.from('1\n')),
        frontend.copyDone(),
        frontend.copyFail('no'),
      ])
    case 12:
      if (random.chance(0.05)) return badCopy()
      if (random.chance(0.05)) return clearing(random, name)
      return unit(random, statement, name)
    case 13:
      // Behind unsynced messages FunctionCall can crash PostgreSQL 18.4 itself, and all its sessions.
      return random.chance(0.5)
        ? Buffer.concat([frontend.sync(), functionCall(random)])
        : frontend.sync()
    default:
      return frontend.sync()
  }
}

function bind(random: Random, statement: string, portal: string): Buffer {
  const values = Array.from({ length: random.pick([0, 0, 1, 1, 2]) }, () => random.pick(VALUES))
  const resultFormats = random.chance(0.1) ? [1 as const] : []
  return frontend.bind({ statement, portal, values, resultFormats })
}

/** What a driver sends for a statement. */
function unit(random: Random, text: string, name: string): Buffer {
  return Buffer.concat([
    frontend.parse(text, { name }),
    bind(random, name, ''),
    frontend.describe(),
    frontend.execute(),
    ...(random.chance(0.7) ? [frontend.sync()] : []),
  ])
}

function clearing(random: Random, name: string): Buffer {
  const text = random.pick(CLEARING)
  return Buffer.concat([
    frontend.sync(),
    frontend.parse(text, { name }),
    ...(random.chance(0.5) ? [frontend.sync()] : []),
    frontend.bind({ statement: name }),
    frontend.execute(),
    frontend.sync(),
  ])
}

/** Its second row fails. Whatever follows, the rest of the copy is dropped. */
function badCopy(): Buffer {
  return Buffer.concat([
    frontend.query('create temp table if not exists bad (i int); copy bad from stdin'),
    frontend.copyData(Buffer.from('1\nx\n2\n')),
    frontend.copyData(Buffer.from('3\n')),
    frontend.copyDone(),
  ])
}

function functionCall(random: Random): Buffer {
  const oid = random.pick([LENGTH_OF_TEXT, INT4_DIVIDE, 1])
  const values = Array.from({ length: 1 + random.integer(2) }, () => random.pick(['6', '0', null]))
  return frontend.functionCall(oid, { arguments: values })
}

function broken(random: Random): Buffer {
  const message = Buffer.from(sound(random))
  switch (random.integer(6)) {
    case 0: // another type over the same body
      message[0] = random.pick('QPBDECHSXdcfFp'.split('')).charCodeAt(0)
      return message
    case 1: // a type that is none
      message[0] = random.pick([0, 1, 33, 90, 122, 255])
      return message
    case 2: // a length that cannot be, or one that reaches beyond all that follows
      message.writeInt32BE(random.pick([0, 1, 3, -1, -2147483648, 9_000, 0x3fffffff]), 1)
      return message
    case 3: // a byte of the body changed
      if (message.length > 5) message[5 + random.integer(message.length - 5)] = random.integer(256)
      return message
    case 4: // a body cut short, with a length that says so
      if (message.length < 7) return message
      message.writeInt32BE(message.length - 2, 1)
      return message.subarray(0, message.length - 1)
    default: // trailing bytes inside the message
      message.writeInt32BE(message.length, 1)
      return Buffer.concat([message, random.bytes(1)])
  }
}

/** Cuts a script into its messages; from a broken length on, the rest is one piece. */
export function messagesOf(script: Buffer): Buffer[] {
  const messages: Buffer[] = []
  for (let at = 0; at < script.length;) {
    const length = at + 5 <= script.length ? script.readInt32BE(at + 1) : -1
    const end = length < 4 ? script.length : Math.min(script.length, at + 1 + length)
    messages.push(script.subarray(at, end))
    at = end
  }
  return messages
}

/** The messages of a script for a person: type, length, and what of the body can be printed. */
export function readable(script: Buffer): string[] {
  return messagesOf(script).map((message) => {
    const length = message.length >= 5 ? message.readInt32BE(1) : '?'
    const body = JSON.stringify(message.toString('latin1', 5, 205))
    return `${message.toString('latin1', 0, 1)} ${length} ${body}`
  })
}
