import { Frontend, type Address } from '../support/frontend.ts'

/** Schemas with a table `who` of their own. */
export const SCHEMAS = ['s0', 's1', 's2', 's3', 's4', 's5']
/** Roles without rights beyond PUBLIC's. */
export const ROLES = ['churn_r0', 'churn_r1', 'churn_r2']
/** Arguments of setseed whose numbers are known. */
export const SEEDS = ['0.125', '0.25', '0.375', '0.5', '0.625', '0.75']
/** How many numbers of each seed are known. */
export const NUMBERS_PER_SEED = 12

/** What random() gives after setseed, by seed. */
export type SequenceSeeds = ReadonlyMap<string, readonly string[]>

/** Settings that the churn changes, beside the custom ones. */
export const SETTINGS = [
  'work_mem',
  'statement_timeout',
  'lock_timeout',
  'search_path',
  'TimeZone',
  'client_encoding',
  'role',
  'session_authorization',
]

const SCHEMA_SQL = [
  'set client_min_messages = warning',
  ...[...SCHEMAS, 'churn_public'].map((name) => `drop schema if exists ${name} cascade`),
  'drop table if exists public.who',
  'drop sequence if exists public.churn_seq',
  "create table public.who as select 'public'::text as name",
  'create sequence public.churn_seq cache 1',
  'grant all on public.who, public.churn_seq to public',
  ...SCHEMAS.flatMap((name) => [
    `create schema ${name}`,
    `create table ${name}.who as select '${name}'::text as name`,
    `grant usage on schema ${name} to public`,
    `grant select on ${name}.who to public`,
  ]),
  ...ROLES.map(
    (role) => `do $$ begin create role ${role}; exception when duplicate_object then null; end $$`,
  ),
]

/** Makes the schema of the churn. What it left behind goes away with the session. */
export async function setUp(address: Address): Promise<void> {
  await using frontend = await Frontend.connect(address)
  for (const sql of SCHEMA_SQL) {
    const lines = await frontend.query(sql)
    const error = lines.find((line) => line.startsWith('ErrorResponse'))
    if (error !== undefined) throw new Error(`${sql}: ${error}`)
  }
}

/** What random() gives after each seed. */
export async function readSeeds(address: Address): Promise<SequenceSeeds> {
  await using frontend = await Frontend.connect(address)
  const seeds = new Map<string, readonly string[]>()
  for (const seed of SEEDS) {
    await frontend.query(`select setseed(${seed})`)
    const sql = `select string_agg(random()::text, ',') from generate_series(1, ${NUMBERS_PER_SEED})`
    const [numbers] = await frontend.row(sql)
    seeds.set(seed, (numbers ?? '').split(','))
  }
  return seeds
}

/** What a fresh session's settings are. */
export async function readDefaults(address: Address): Promise<ReadonlyMap<string, string>> {
  await using frontend = await Frontend.connect(address)
  const columns = SETTINGS.map((name) => `current_setting('${name}')`)
  const values = await frontend.row(`select ${columns.join(', ')}`)
  return new Map(SETTINGS.map((name, at) => [name, values[at] ?? '']))
}
