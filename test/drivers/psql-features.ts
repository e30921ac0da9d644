import { expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Server } from '../support/servers.ts'
import { runPsql, skipped } from './psql.ts'

const COPY_ROWS = 50_000

/** What people type into psql beyond single statements. */
export function psqlFeatureTests(server: () => Server): void {
  const when = test.skipIf(skipped)

  when('\\copy of a file goes in and comes out the same', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'mg-psql-'))
    const [into, out] = [join(dir, 'in.csv'), join(dir, 'out.csv')]
    const lines = Array.from({ length: COPY_ROWS }, (_, i) => `${i},"row ""${i}"", ä"\n`)
    writeFileSync(into, lines.join(''))
    try {
      const script = `create temp table psql_file (n int, body text);
\\copy psql_file from '${into}' (format csv)
select count(*) from psql_file;
\\copy (select * from psql_file order by n) to '${out}' (format csv, force_quote (body))`
      expect(await runPsql(server(), script)).toBe(String(COPY_ROWS))
      expect(readFileSync(out).equals(readFileSync(into))).toBe(true)
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  when('\\gdesc tells the columns without running', async () => {
    const script = "select 1 as n, 'x'::text as t, now() as w, 1/0 as never \\gdesc"
    expect(await runPsql(server(), script)).toBe(
      'n|integer\nt|text\nw|timestamp with time zone\nnever|integer',
    )
  })

  when('\\gset, \\gexec and \\crosstabview', async () => {
    const script = `select 7 as seven \\gset
select :seven + 1;
select format('select %s', n) from generate_series(1, 3) n \\gexec
select a, b, a * b from generate_series(1, 2) a, generate_series(1, 2) b \\crosstabview`
    expect(await runPsql(server(), script)).toBe('8\n1\n2\n3\n1|1|2\n2|2|4')
  })

  when('ON_ERROR_ROLLBACK keeps the transaction behind an error', async () => {
    const script = `\\set ON_ERROR_ROLLBACK on
begin;
create temp table psql_kept (n int) on commit drop;
insert into psql_kept values (1);
insert into psql_kept values (1 / 0);
insert into psql_kept values (3);
select string_agg(n::text, ',' order by n) from psql_kept;
commit;`
    const said = await runPsql(server(), script)
    expect(said).toContain('division by zero')
    expect(said.split('\n')[0]).toBe('1,3')
  })

  when('several statements of one Query are one transaction', async () => {
    const script = `set client_min_messages = warning;
drop table if exists psql_many; create table psql_many (n int);
insert into psql_many values (1)\\; insert into psql_many values (2)\\; select 1 / 0;
select count(*) from psql_many;
insert into psql_many values (1)\\; commit\\; insert into psql_many values (2)\\; select 1 / 0;
select count(*) from psql_many;
begin\\; insert into psql_many values (5)\\; rollback\\; select count(*) from psql_many;
drop table psql_many;`
    const said = await runPsql(server(), script)
    const rows = said.split('\n').filter((line) => /^\d+$/.test(line))
    expect(rows).toEqual(['0', '1', '1'])
  })

  when('\\watch runs again and again until it is interrupted', async () => {
    const script = `create temp sequence psql_watch;
select nextval('psql_watch'), 1 / (3 - last_value) from psql_watch \\watch 0.01
select 'on';`
    const said = await runPsql(server(), script)
    expect(said).toContain('division by zero')
    expect(said).toContain('on')
  })

  when('\\d, \\df, \\du and \\dn+ read the catalogs', async () => {
    const script = `create temp table psql_d (n int primary key, body text default 'x');
\\d psql_d
\\df pg_catalog.current_setting
\\du postgres
\\dn+ public
\\sf pg_catalog.upper(text)`
    const said = await runPsql(server(), script)
    expect(said).not.toContain('ERROR')
    for (const part of ['n|integer', 'current_setting', 'postgres', 'upper']) {
      expect(said).toContain(part)
    }
  })

  when('\\errverbose, \\if and a notice of a function', async () => {
    const script = `do $$ begin raise notice 'heard %', 1; end $$;
select nothing;
\\if :ERROR
select :'LAST_ERROR_SQLSTATE';
\\endif
\\errverbose`
    const said = await runPsql(server(), script)
    for (const part of ['NOTICE:  heard 1', '42703', 'errorMissingColumn']) {
      expect(said).toContain(part)
    }
  })
}
