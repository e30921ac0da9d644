-- One of each kind of object that pg_dump writes, and rows that are hard to write.
create role dump_owner nologin;
create role dump_reader nologin;
grant dump_reader to dump_owner with admin option;
alter role dump_reader set work_mem = '8MB';
create schema app authorization dump_owner;
comment on schema app is 'of the application: ''quoted'', "quoted", ä';
create type app.mood as enum ('sad', 'ok', 'happy');
create type app.pair as (a int, b text);
create domain app.positive as int check (value > 0) default 1;
create type app.span as range (subtype = float8);
create sequence app.numbers start 7 increment 3 cache 5;
create collation app.german (provider = libc, locale = 'C');
create table app.people (
  id bigint generated always as identity primary key,
  name text not null collate "C",
  mood app.mood default 'ok',
  pair app.pair,
  age app.positive,
  born timestamptz,
  tags text[],
  extra jsonb,
  bytes bytea,
  price numeric(12, 3),
  span app.span,
  double_age int generated always as (age * 2) stored,
  unique (name, born),
  check (length(name) < 1000)
);
create table app.orders (
  id serial primary key,
  person bigint references app.people on delete cascade deferrable initially deferred,
  at date not null default '2024-02-29',
  exclude using btree (id with =)
);
create table app.measures (at timestamptz not null, value float8) partition by range (at);
create table app.measures_2023 partition of app.measures
  for values from ('2023-01-01') to ('2024-01-01');
create table app.measures_rest partition of app.measures default;
create table app.child (more text) inherits (app.orders);
create unlogged table app.scratch (n int);
create index people_extra on app.people using gin (extra);
create index people_lower on app.people (lower(name)) where age > 3;
create statistics app.people_stats (dependencies) on name, mood from app.people;
create view app.adults with (security_barrier) as
  select name, age from app.people where age >= 18 with local check option;
create materialized view app.counts as select mood, count(*) from app.people group by mood;
create function app.add(a int, b int default 2) returns int language sql immutable
  set work_mem = '3MB' as $$ select a + b $$;
create function app.touch() returns trigger language plpgsql as $body$
begin
  -- a comment; with 'quotes' and $$dollars$$
  new.born := coalesce(new.born, '2000-01-01 00:00+00');
  return new;
end $body$;
create trigger people_touch before insert on app.people for each row execute function app.touch();
create procedure app.nothing(inout x int) language plpgsql as $$ begin x := x + 1; commit; end $$;
create aggregate app.total (int) (sfunc = int4pl, stype = int, initcond = '0');
create operator app.@#@ (leftarg = int, rightarg = int, function = app.add);
create rule scratch_rule as on delete to app.scratch do instead nothing;
create policy readers on app.people for select to dump_reader using (age > 1);
alter table app.people enable row level security;
create foreign data wrapper nowhere;
create server far foreign data wrapper nowhere options (host 'x');
create foreign table app.far (n int) server far options (name 'y');
create publication everything for table app.people, app.orders;
create function app.watch() returns event_trigger language plpgsql as $$ begin end $$;
create event trigger watch on ddl_command_end execute function app.watch();
create cast (text as app.mood) with inout;
create text search configuration app.simple (copy = simple);
alter table app.people alter column name set statistics 500;
alter default privileges in schema app grant select on tables to dump_reader;
grant usage on schema app to dump_reader;
grant select (id, name) on app.people to dump_reader;
comment on column app.people.extra is E'two\nlines';
insert into app.people (name, mood, pair, age, born, tags, extra, bytes, price, span)
  select 'person ' || n || E'\t\\\n ä 漢', (array['sad', 'ok', 'happy'])[1 + n % 3]::app.mood,
    row(n, repeat('"', n % 5))::app.pair, n + 1, '2024-01-01'::timestamptz + n * interval '7 hours',
    array['a', null, 'b,"c"'], jsonb_build_object('n', n, 'nested', array[1.5, n]),
    decode(md5(n::text), 'hex'), n / 7.0, '[1.5,2.5)'
  from generate_series(1, 2000) n;
insert into app.orders (person) select 1 + n % 2000 from generate_series(1, 500) n;
insert into app.child (person, more) values (5, E'\\N'), (6, null), (7, '');
insert into app.measures select '2023-06-01'::timestamptz + n * interval '1 day', 1 / (n + 0.5)
  from generate_series(0, 300) n;
insert into app.measures values ('2022-01-01', 'NaN'), ('2025-01-01', '-Infinity');
select nextval('app.numbers'), nextval('app.numbers');
select lo_from_bytea(70000, decode(repeat('00ff5c27', 5000), 'hex'));
comment on large object 70000 is 'large';
refresh materialized view app.counts;
