// What is asked of the catalogs. Objects of initdb are not looked at: their oids are below 16384.

/** Functions written in C that set nothing in a session, by the extension they came with. */
const HARMLESS = `'plpgsql','btree_gin','btree_gist',
  'citext','cube','earthdistance','fuzzystrmatch',
  'hstore','intarray','isn','ltree','pg_buffercache','pg_stat_statements','pg_trgm','pgcrypto',
  'pgstattuple','pg_visibility','pageinspect','pg_freespacemap','pgrowlocks','pg_prewarm','seg',
  'tablefunc','tsm_system_rows','tsm_system_time','unaccent','uuid-ossp','vector','postgis',
  'postgis_raster','postgis_topology','address_standardizer','h3','ip4r','pg_partman','amcheck',
  'bloom','dict_int','dict_xsyn','file_fdw','postgres_fdw','dblink','lo','xml2','sslinfo','tcn',
  'bool_plperl','autoinc','insert_username',
  'moddatetime','hll','hypopg','pg_cron','pg_repack','rum','timescaledb','pgaudit','pg_hint_plan'`

function fingerprintOf(catalog: string, where: string): string {
  return `select count(*) c, coalesce(sum(xmin::text::bigint), 0) s
    from pg_catalog.${catalog} where ${where}`
}

const CATALOGS = [
  ['pg_trigger', 'not tgisinternal'],
  ['pg_rewrite', 'oid >= 16384'],
  ['pg_attrdef', 'oid >= 16384'],
  ['pg_policy', 'oid >= 16384'],
  ['pg_constraint', 'oid >= 16384'],
  ['pg_operator', 'oid >= 16384'],
  ['pg_cast', 'oid >= 16384'],
  ['pg_amproc', 'oid >= 16384'],
  ['pg_event_trigger', 'true'],
  ['pg_inherits', 'true'],
  [
    'pg_class',
    "oid >= 16384 and relkind in ('r', 'p', 'v', 'm', 'f', 'I') and relpersistence <> 't'",
  ],
  ['pg_index', 'indexrelid >= 16384 and (indexprs is not null or indpred is not null)'],
] as const

/** Statements of the reader's connection. */
export const CATALOG_STATEMENTS = {
  /** A lock that others hold must not hold up the reader. */
  lock_timeout: `select pg_catalog.set_config('lock_timeout', '500ms', false),
    pg_catalog.set_config('search_path', 'pg_catalog', false)`,
  /** Equal when no transaction has ended in between. */
  snapshot: 'select pg_catalog.pg_current_snapshot()::text',
  fingerprint: `select 'functions', c, s from (${fingerprintOf('pg_proc', 'oid >= 16384')}) p
    union all ${CATALOGS.map(
      ([name, where]) => `select '${name}', c, s
      from (${fingerprintOf(name, where)}) x`,
    ).join(' union all ')}`,
  functions: `select oid::text, xmin::text, proname from pg_catalog.pg_proc where oid >= 16384`,
  sources: `select p.oid::text, l.lanname, l.lanpltrusted, p.prosrc,
    case when p.prosqlbody is null then '' else pg_catalog.pg_get_function_sqlbody(p.oid) end,
    coalesce(pg_catalog.array_to_string(p.proconfig, chr(1)), ''),
    coalesce(a.aggtransfn::regproc::text || '( ' || a.aggfinalfn::regproc::text || '( ' ||
      a.aggcombinefn::regproc::text || '( ' || a.aggmtransfn::regproc::text || '( ' ||
      a.aggmfinalfn::regproc::text || '(', ''),
    exists (select from pg_catalog.pg_depend d join pg_catalog.pg_extension e
      on d.refobjid = e.oid and d.refclassid = 'pg_catalog.pg_extension'::regclass
      where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
        and e.extname in (${HARMLESS})),
    not exists (
      select from pg_catalog.pg_type t where t.oid = p.proargtypes[0]
        and t.typtype in ('c', 'd', 'p'))
    from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang
    left join pg_catalog.pg_aggregate a on a.aggfnoid = p.oid
    where p.oid = any($1::oid[])`,
  /** Owner, whether reading it counts too, what it reaches. */
  objects: `select c.relname, r.ev_type = '1', pg_catalog.pg_get_ruledef(r.oid)
      from pg_catalog.pg_rewrite r join pg_catalog.pg_class c on c.oid = r.ev_class
      where r.oid >= 16384
    union all select c.relname, false, pg_catalog.pg_get_expr(d.adbin, d.adrelid)
      from pg_catalog.pg_attrdef d join pg_catalog.pg_class c on c.oid = d.adrelid
      where d.oid >= 16384 and pg_catalog.pg_get_expr(d.adbin, d.adrelid) !~ '^nextval\\('
    union all select c.relname, true, concat_ws(' ', pg_catalog.pg_get_expr(p.polqual, p.polrelid),
        pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))
      from pg_catalog.pg_policy p join pg_catalog.pg_class c on c.oid = p.polrelid
    union all select c.relname, false, quote_ident(p.proname) || '( ' ||
        case when t.tgqual is null then '' else pg_catalog.pg_get_triggerdef(t.oid) end
      from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid
      join pg_catalog.pg_proc p on p.oid = t.tgfoid where not t.tgisinternal
    union all select coalesce(c.relname, t.typname), c.oid is null,
        pg_catalog.pg_get_constraintdef(k.oid)
      from pg_catalog.pg_constraint k left join pg_catalog.pg_class c on c.oid = k.conrelid
      left join pg_catalog.pg_type t on t.oid = k.contypid where k.oid >= 16384 and k.contype = 'c'
    union all select f.relname, false, quote_ident(c.relname)
      from pg_catalog.pg_constraint k join pg_catalog.pg_class c on c.oid = k.conrelid
      join pg_catalog.pg_class f on f.oid = k.confrelid where k.contype = 'f'
        and (k.confdeltype in ('c', 'n', 'd') or k.confupdtype in ('c', 'n', 'd'))
    union all select f.relname, true, quote_ident(c.relname) from pg_catalog.pg_inherits i
      join pg_catalog.pg_class c on c.oid = i.inhrelid
      join pg_catalog.pg_class f on f.oid = i.inhparent
    union all select t.typname, true, pg_catalog.pg_get_expr(t.typdefaultbin, 0)
      from pg_catalog.pg_type t where t.typtype = 'd' and t.typdefaultbin is not null
        and t.oid >= 16384
    union all select c.relname, false, quote_ident(t.typname) from pg_catalog.pg_attribute a
      join pg_catalog.pg_type t on t.oid = a.atttypid
      join pg_catalog.pg_class c on c.oid = a.attrelid
      where t.typtype = 'd' and t.oid >= 16384 and a.attnum > 0 and c.relkind in ('r', 'p', 'f')
    union all select c.relname, false, concat_ws(' ',
        pg_catalog.pg_get_expr(i.indexprs, i.indrelid),
        pg_catalog.pg_get_expr(i.indpred, i.indrelid))
      from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indrelid
      where i.indexrelid >= 16384 and (i.indexprs is not null or i.indpred is not null)`,
  /** Functions that run without being named: of operators, casts and indexes, and on all DDL. */
  nameless: `select 'any', p.oid::text from pg_catalog.pg_proc p
      join pg_catalog.pg_language l on l.oid = p.prolang and l.lanname not in ('c', 'internal')
      where p.oid in (select oprcode from pg_catalog.pg_operator where oid >= 16384
        union all select castfunc from pg_catalog.pg_cast where oid >= 16384
        union all select amproc from pg_catalog.pg_amproc where oid >= 16384)
    union all select 'catalog', p.oid::text from pg_catalog.pg_event_trigger e
      join pg_catalog.pg_proc p on p.oid = e.evtfoid where e.evtenabled <> 'D'`,
}
