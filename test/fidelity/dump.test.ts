// Goal: a database that goes out through the gateway with pg_dump and comes in through it is the
// same.
// Method: Debian's Postgres under the cluster (pg_dump wants its own version), a database with one
// of each kind of object; dumped, restored by psql and by pg_restore with two connections, and
// dumped again: byte for byte. Also pg_dumpall's globals, against those of a restored cluster.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { systemPostgres } from '../support/debian.ts'

const SCHEMA = join(import.meta.dir, 'dump-schema.sql')
/** What only differs from run to run. */
const RESTRICT = ['--restrict-key=same']

const debian = await systemPostgres('pg_dump')
const skipped = 'skipped' in debian
if ('skipped' in debian) console.error(`pg_dump is not there: ${debian.skipped}`)

let cluster: Cluster | undefined
let restrict: string[] = []
const dir = mkdtempSync(join(tmpdir(), 'mg-dump-'))
chmodSync(dir, 0o755)

beforeAll(async () => {
  if ('skipped' in debian) return
  cluster = await startCluster({ poolers: 1, postgres: debian.path, env: debian.env })
  const help = await run('pg_dump', ['--help'])
  if (help.includes('--restrict-key')) restrict = RESTRICT
  await psql('postgres', '-c', 'create database dump_a')
  await psql('dump_a', '-f', SCHEMA)
}, 120_000)
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]()
  rmSync(dir, { recursive: true })
}, 60_000)

/** One of Postgres's programs against the gateway; its stdout. @throws Error with its stderr. */
async function run(program: string, args: readonly string[]): Promise<string> {
  if ('skipped' in debian) throw new Error(debian.skipped)
  const { hostname, port } = new URL(cluster?.url ?? '')
  const child = Bun.spawn([join(debian.path, program), ...args], {
    env: {
      ...process.env,
      ...debian.env,
      PGHOST: hostname,
      PGPORT: port,
      PGUSER: 'postgres',
      PGPASSWORD: 'postgres',
      PGSSLMODE: 'disable',
    },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()])
  if ((await child.exited) !== 0) throw new Error(`${program} ${args.join(' ')}: ${err}`)
  return out
}

function psql(database: string, ...args: string[]): Promise<string> {
  return run('psql', ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', database, ...args])
}

/** The database as a script. */
async function dump(database: string): Promise<Buffer> {
  const file = join(dir, `${database}.sql`)
  await run('pg_dump', [...restrict, '-f', file, database])
  return readFileSync(file)
}

test.skipIf(skipped)('a dump restored by psql dumps the same', async () => {
  const first = await dump('dump_a')
  expect(first.length).toBeGreaterThan(200_000)
  await psql('postgres', '-c', 'create database dump_b')
  await psql('dump_b', '-f', join(dir, 'dump_a.sql'))
  expect((await dump('dump_b')).equals(first)).toBe(true)
})

test.skipIf(skipped).each(['custom', 'directory'])(
  'a dump in the %s format restored with two connections dumps the same',
  async (format) => {
    const first = await dump('dump_a')
    const archive = join(dir, `archive.${format}`)
    const jobs = format === 'directory' ? ['-j', '2'] : []
    await run('pg_dump', ['-F', format, ...jobs, '-f', archive, 'dump_a'])
    const database = `dump_${format}`
    await psql('postgres', '-c', `create database ${database}`)
    await run('pg_restore', ['-j', '2', '-e', '-d', database, archive])
    expect((await dump(database)).equals(first)).toBe(true)
  },
)

test.skipIf(skipped)('inserts instead of COPY, in one transaction', async () => {
  const first = await dump('dump_a')
  const file = join(dir, 'inserts.sql')
  const how = ['--inserts', '--rows-per-insert=50', '--column-inserts']
  await run('pg_dump', [...restrict, ...how, '-f', file, 'dump_a'])
  await psql('postgres', '-c', 'create database dump_inserts')
  await psql('dump_inserts', '--single-transaction', '-f', file)
  expect((await dump('dump_inserts')).equals(first)).toBe(true)
})

test.skipIf(skipped)('pg_dumpall writes the roles, and goes in again', async () => {
  const globals = await run('pg_dumpall', ['--globals-only', ...restrict])
  for (const part of [
    'CREATE ROLE dump_owner;',
    "ALTER ROLE dump_reader SET work_mem TO '8MB';",
    'GRANT dump_reader TO dump_owner WITH ADMIN OPTION',
  ]) {
    expect(globals).toContain(part)
  }
  const own = globals.split('\n').filter((line) => /dump_(?:owner|reader)/.test(line))
  await Bun.write(join(dir, 'globals.sql'), own.join('\n'))
  await psql('postgres', '-c', 'drop database if exists dump_b')
  for (const name of ['custom', 'directory', 'inserts', 'a']) {
    await psql('postgres', '-c', `drop database if exists dump_${name}`)
  }
  await psql('postgres', '-c', 'drop role dump_owner', '-c', 'drop role dump_reader')
  await psql('postgres', '-f', join(dir, 'globals.sql'))
  expect(await run('pg_dumpall', ['--globals-only', ...restrict])).toBe(globals)
})
