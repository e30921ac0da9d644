// Goal: tools made for PgBouncer read our console.
// Method: Debian's PgBouncer beside a cluster of ours; every SHOW of both is compared column by
// column. Ours may have more columns behind PgBouncer's: newer PgBouncers' and our own.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { TABLES } from '../../gateway/console/columns.ts'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { addressOf, Admin, connectTo, type ShownRow } from './admin.ts'
import { startPgBouncerConsole, type PgBouncerConsole } from './pgbouncer.ts'

let cluster: Cluster
let ours: Admin
let bouncer: PgBouncerConsole | undefined

beforeAll(async () => {
  bouncer = await startPgBouncerConsole()
  cluster = await startCluster({ poolers: 1 })
  ours = await Admin.connect(addressOf(cluster.url))
}, 120_000)

afterAll(async () => {
  await ours?.[Symbol.asyncDispose]()
  await bouncer?.[Symbol.asyncDispose]()
  await cluster?.[Symbol.asyncDispose]()
})

/** Those of PgBouncer 1.18. */
const ITS = [
  'POOLS',
  'CLIENTS',
  'SERVERS',
  'STATS',
  'STATS_TOTALS',
  'STATS_AVERAGES',
  'TOTALS',
  'DATABASES',
  'USERS',
  'LISTS',
  'CONFIG',
  'VERSION',
  'MEM',
  'SOCKETS',
  'ACTIVE_SOCKETS',
  'DNS_HOSTS',
  'DNS_ZONES',
] as const

for (const what of ITS) {
  test(`SHOW ${what} begins with PgBouncer's columns and types`, async () => {
    if (bouncer === undefined) return
    const theirs = await bouncer.admin.run(`SHOW ${what}`)
    const mine = await ours.run(`SHOW ${what}`)
    const shape = ({ columns }: typeof mine): string[] =>
      columns.map(({ name, typeOid, typeSize }) => `${name} ${typeOid} ${typeSize}`)
    expect(shape(mine).slice(0, theirs.columns.length)).toEqual(shape(theirs))
    expect(mine.tag).toBe(theirs.tag)
  })
}

test('LISTS and TOTALS have the rows of PgBouncer', async () => {
  if (bouncer === undefined) return
  for (const [what, column] of [
    ['LISTS', 'list'],
    ['TOTALS', 'name'],
  ] as const) {
    const names = (rows: readonly ShownRow[]): unknown[] => rows.map((row) => row[column])
    const theirs = names(await bouncer.admin.show(what))
    expect(names(await ours.show(what))).toEqual(expect.arrayContaining(theirs))
  }
})

test('CONFIG has what pgbouncer_exporter reads', async () => {
  for (const key of ['max_client_conn', 'max_user_connections']) {
    expect(Number((await ours.row('CONFIG', { key }))['value'])).toBeGreaterThanOrEqual(0)
  }
})

test('every column of every table has a value, or is meant to have none', async () => {
  await using client = await connectTo(cluster)
  await client.query('begin; create temp table mine (a int)')
  const none = new Set(['load_balance_hosts', 'host', 'force_user', 'pool_mode', 'pooler'])
  for (const name of Object.keys(TABLES)) {
    const rows = await ours.show(name)
    for (const [index, row] of rows.entries()) {
      for (const [column, value] of Object.entries(row)) {
        if (value !== null || none.has(column) || name === 'CONFIG') continue
        if (column === 'client_port' && row['link'] === '') continue
        throw new Error(`SHOW ${name}: row ${index} has no ${column}`)
      }
    }
  }
})
