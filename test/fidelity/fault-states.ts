// The states that a session can be in when what is under it goes away, and what its client is told
// then: the table "What a lost backend or link means" of docs/ARCHITECTURE.md.
import { bind, copyData, execute, flush, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'

/** What the client hears. */
export type Told =
  /** Nothing: its next statement runs. */
  | 'nothing'
  /** The next statement, or the running one, fails with 40001, and the transaction has failed. */
  | 'failed transaction'
  /** One of these codes, FATAL, and the end. */
  | readonly string[]

/** One state. */
export interface FaultState {
  readonly name: string
  /** Brings the session there. Texts bear `key`, which is also the row that a write makes. */
  enter(client: Frontend, key: number): Promise<void>
  readonly told: Told
  /** A statement runs, which Postgres does not end for a client that is gone. */
  readonly runs?: true
  /** The end may come in the middle of a message, where nothing can be told. */
  readonly midMessage?: true
  /** Whether the row is there afterwards; 'unknown' where the server may still finish. */
  readonly row: boolean | 'unknown'
}

const SLEEP = 30
const LOST = ['57P01']
const READ = ['08006']
/** Without a call of a function, which might write; it takes hours. */
const LONG_READ = `select 1 from pg_attribute a, pg_attribute b, pg_attribute c
  where a.attnum + b.attnum + c.attnum = 123456`
const WRITTEN = ['08007']

const mark = (key: number): string => `/* fault ${key} */`
const insert = (key: number): string => `insert into fault values (${key}) ${mark(key)}`
const asleep = (key: number): string => `select pg_sleep(${SLEEP}) ${mark(key)}`

async function succeed(client: Frontend, ...texts: string[]): Promise<void> {
  for (const text of texts) {
    const lines = await client.query(text)
    const error = lines.find((line) => line.startsWith('ErrorResponse'))
    if (error !== undefined) throw new Error(`${text}: ${error}`)
  }
}

const pinned = (name: string, text: string): FaultState => ({
  name: `pinned by ${name}, at rest`,
  enter: (client, key) => succeed(client, text, `select 1 ${mark(key)}`),
  told: LOST,
  row: false,
})

/** All of them. */
export const FAULT_STATES: readonly FaultState[] = [
  {
    name: 'at rest',
    enter: (client, key) => succeed(client, `select 1 ${mark(key)}`),
    told: 'nothing',
    row: false,
  },
  {
    name: 'in a simple read',
    enter: async (client, key) => client.send(query(`${LONG_READ} ${mark(key)}`)),
    told: READ,
    row: false,
    runs: true,
  },
  {
    name: 'in a simple write',
    enter: async (client, key) => client.send(query(`${insert(key)} returning pg_sleep(${SLEEP})`)),
    told: WRITTEN,
    row: 'unknown',
    runs: true,
  },
  {
    name: 'in a text that has committed and goes on',
    enter: async (client, key) =>
      client.send(query(`begin; ${insert(key)}; commit; ${asleep(key)}`)),
    told: WRITTEN,
    row: true,
    runs: true,
  },
  {
    name: 'before Sync, behind a write',
    async enter(client, key) {
      client.send(parse(insert(key)), bind(), execute(), flush())
      await client.until('CommandComplete')
    },
    told: WRITTEN,
    row: false,
  },
  {
    name: 'with a portal suspended',
    async enter(client, key) {
      const text = `select oid from pg_class ${mark(key)}`
      client.send(parse(text), bind(), execute({ rowsMax: 2 }), flush())
      await client.until('PortalSuspended')
    },
    told: READ,
    row: false,
  },
  {
    name: 'in a pipeline, in its second batch',
    async enter(client, key) {
      const first = [parse('select 1'), bind(), execute(), sync()]
      const write = `${insert(key)} returning pg_sleep(${SLEEP})`
      const second = [parse(write), bind(), execute(), sync()]
      const behind = [parse(insert(-key)), bind(), execute(), sync()]
      client.send(Buffer.concat([...first, ...second, ...behind]))
      await client.untilReadyForQuery()
    },
    told: WRITTEN,
    row: 'unknown',
    runs: true,
  },
  {
    name: 'in a transaction, at rest',
    enter: (client, key) => succeed(client, 'begin', insert(key)),
    told: 'failed transaction',
    row: false,
  },
  {
    name: 'in a transaction, in a statement',
    async enter(client, key) {
      await succeed(client, 'begin', insert(key))
      client.send(query(asleep(key)))
    },
    told: 'failed transaction',
    row: false,
    runs: true,
  },
  {
    name: 'in a failed transaction',
    async enter(client, key) {
      await succeed(client, 'begin', insert(key))
      await client.query(`select 1 / 0 ${mark(key)}`)
    },
    told: 'failed transaction',
    row: false,
  },
  {
    name: 'with COMMIT sent and not done',
    async enter(client, key) {
      await succeed(client, 'begin', `insert into fault_slow values (${key}) ${mark(key)}`)
      client.send(query(`commit ${mark(key)}`))
    },
    told: WRITTEN,
    row: 'unknown',
    runs: true,
  },
  {
    name: 'in COPY in',
    async enter(client, key) {
      client.send(query(`copy fault from stdin ${mark(key)}`))
      await client.until('CopyInResponse')
      client.send(copyData(Buffer.from(`${key}\n`)))
    },
    told: WRITTEN,
    row: false,
  },
  {
    name: 'in COPY in of a transaction',
    async enter(client, key) {
      await succeed(client, 'begin')
      client.send(query(`copy fault from stdin ${mark(key)}`))
      await client.until('CopyInResponse')
      client.send(copyData(Buffer.from(`${key}\n`)))
    },
    told: 'failed transaction',
    row: false,
  },
  {
    name: 'in COPY out, with rows under way',
    async enter(client, key) {
      const rows = "select repeat('r', 1000) from pg_attribute a, pg_attribute b"
      client.send(query(`copy (${rows}) to stdout ${mark(key)}`))
      await client.until('CopyData')
      client.pause()
    },
    // COPY (SELECT f()) may write.
    told: [...READ, ...WRITTEN],
    row: false,
    runs: true,
    midMessage: true,
  },
  {
    name: 'in a result, with rows under way',
    async enter(client, key) {
      const rows = "select repeat('r', 1000) from pg_attribute a, pg_attribute b"
      client.send(query(`${rows} ${mark(key)}`))
      await client.until('DataRow')
      client.pause()
    },
    // A function call in it may write, for all that is known.
    told: [...READ, ...WRITTEN],
    row: false,
    runs: true,
    midMessage: true,
  },
  pinned('a temporary table', 'create temp table fault_temp (n int)'),
  pinned('an advisory lock', 'select pg_advisory_lock(77)'),
  pinned('a cursor WITH HOLD', 'declare fault_cursor cursor with hold for select 1'),
  pinned('SQL PREPARE', 'prepare fault_statement as select 1'),
  {
    name: 'pinned, in a transaction',
    enter: (client, key) =>
      succeed(client, 'create temp table fault_temp (n int)', 'begin', insert(key)),
    told: LOST,
    row: false,
  },
]

/** What the tests' tables are made by. */
export const FAULT_SCHEMA = [
  'create table fault (n int primary key)',
  'create table fault_slow (n int primary key)',
  `create function fault_wait() returns trigger language plpgsql as
    $$ begin perform pg_sleep(${SLEEP}); return null; end $$`,
  `create constraint trigger slow after insert on fault_slow deferrable initially deferred
    for each row execute function fault_wait()`,
]

/** The comment that a state's statements bear. */
export const markOfFault = mark
