import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { debianTool } from '../support/debian.ts'
import type { Server } from '../support/servers.ts'
import { COMMON_TYPES } from './common-types.ts'
import { backendRunning, loginOf } from './login.ts'

const psql = await debianTool('psql')
/** Whether there is no psql to test with. */
export const skipped = 'skipped' in psql
if ('skipped' in psql) console.error(`psql is not there: ${psql.skipped}`)

type Environment = Record<string, string>

function start(server: Server, script: string, env: Environment = {}) {
  if ('skipped' in psql) throw new Error(psql.skipped)
  const { host, port, user, password, database } = loginOf(server)
  const command = [psql.path, '-X', '-A', '-t', '-q', '-h', host, '-p', String(port), database]
  return Bun.spawn(command, {
    env: {
      ...process.env,
      ...psql.env,
      PGUSER: user,
      PGPASSWORD: password,
      PGSSLMODE: 'disable',
      ...env,
    },
    stdin: Buffer.from(script),
    stdout: 'pipe',
    stderr: 'pipe',
  })
}

/** Output and errors, trimmed. */
export async function runPsql(server: Server, script: string, env?: Environment): Promise<string> {
  const child = start(server, script, env)
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()])
  await child.exited
  return (out + err).trim()
}

/** psql of libpq 15 or newer: simple queries, COPY, cursors. */
export function psqlTests(server: () => Server): void {
  const when = test.skipIf(skipped)

  when('TLS verify-full, and not with another CA', async () => {
    const env = { PGSSLMODE: 'verify-full', PGSSLROOTCERT: server().caFile }
    expect(await runPsql(server(), 'select 1;', env)).toBe('1')
    const foreign = await runPsql(server(), 'select 1;', { ...env, PGSSLROOTCERT: '/dev/null' })
    expect(foreign).toContain('could not read root certificate file')
  })

  when('channel binding', async () => {
    const env = { PGSSLMODE: 'require', PGCHANNELBINDING: 'require' }
    expect(await runPsql(server(), 'select 1;', env)).toBe('1')
  })

  when('a wrong password is told in the words of Postgres', async () => {
    expect(await runPsql(server(), 'select 1;', { PGPASSWORD: 'wrong' })).toContain(
      'FATAL:  password authentication failed for user "postgres"',
    )
  })

  when('values of every common type, by PREPARE and EXECUTE', async () => {
    const script = COMMON_TYPES.map(
      ([cast, text], i) => `prepare p${i} (${cast}) as select $1::text = $value$${text}$value$;
        execute p${i} ($value$${text}$value$);`,
    )
    expect(await runPsql(server(), script.join('\n'))).toBe(COMMON_TYPES.map(() => 't').join('\n'))
  })

  when('values of every common type, by COPY in the binary format and back', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'mg-psql-'))
    const file = join(dir, 'values')
    const columns = COMMON_TYPES.map(([cast], i) => `c${i} ${cast}`).join(', ')
    const values = COMMON_TYPES.map(([, text]) => `$value$${text}$value$`).join(', ')
    const checks = COMMON_TYPES.map(([, text], i) => `c${i}::text = $value$${text}$value$`)
    try {
      const script = `create temp table psql_types (${columns});
insert into psql_types values (${values});
\\copy psql_types to '${file}' (format binary)
truncate psql_types;
\\copy psql_types from '${file}' (format binary)
select count(*), ${checks.join(' and ')} from psql_types group by ${checks.join(' and ')};`
      expect(await runPsql(server(), script)).toBe('1|t')
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  when('a transaction with savepoints gives what was kept', async () => {
    const script = `set client_min_messages = warning; drop table if exists psql_tx;
create table psql_tx (id int);
begin; insert into psql_tx values (1); savepoint a; insert into psql_tx values (2);
rollback to a; insert into psql_tx values (3); commit;
select string_agg(id::text, ',' order by id) from psql_tx;`
    expect(await runPsql(server(), script)).toBe('1,3')
  })

  when('Ctrl-C cancels the statement', async () => {
    const child = start(server(), 'select pg_sleep(30) /* psql cancels */;\n')
    await backendRunning(server(), 'psql cancels */')
    child.kill('SIGINT')
    expect(await child.stderr.text()).toContain('canceling statement due to user request')
    await child.exited
  })

  when('several statements of one Query, and of one script', async () => {
    expect(await runPsql(server(), 'select 1\\; select 2\\; select 3;\nselect 4;')).toBe(
      '1\n2\n3\n4',
    )
  })

  when('FETCH_COUNT reads seven rows in three pages', async () => {
    const script = '\\set FETCH_COUNT 3\nselect generate_series(1, 7);'
    expect(await runPsql(server(), script)).toBe('1\n2\n3\n4\n5\n6\n7')
  })

  when('settings stay for the session', async () => {
    const script = `set statement_timeout = '7s';\nselect 1;\nshow statement_timeout;
set search_path = pg_catalog;\nshow search_path;\nselect count(*) > 0 from pg_class;`
    expect(await runPsql(server(), script)).toBe('1\n7s\npg_catalog\nt')
  })

  when('startup options are the reset values', async () => {
    const script = "show work_mem;\nset work_mem = '1MB';\nreset work_mem;\nshow work_mem;"
    expect(await runPsql(server(), script, { PGOPTIONS: '-c work_mem=3MB' })).toBe('3MB\n3MB')
  })

  when('COPY goes in and out', async () => {
    const script = `create temp table psql_copy (a int, b text);
copy psql_copy from stdin;
1\tone
2\ttwo
\\.
copy psql_copy to stdout;
\\copy (select count(*) from psql_copy) to stdout`
    expect(await runPsql(server(), script)).toBe('1\tone\n2\ttwo\n2')
  })

  when('a bad row of COPY is an error and the session goes on', async () => {
    const script = `create temp table psql_bad (a int);
copy psql_bad from stdin;
1
x
\\.
select count(*) from psql_bad;`
    const out = await runPsql(server(), script)
    expect(out).toContain('invalid input syntax for type integer: "x"')
    expect(out.split('\n')).toContain('0')
  })
}
