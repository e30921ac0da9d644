// What a new shard's Postgres is born with: roles, the schema `multigres`, its tables and the rule
// {0,1}. pgctld runs it in single-user mode right after initdb, so no client ever sees it half
// done.
//
// Single-user mode ends a statement at a line end (or, with -j, at a blank line): every entry here
// is one statement on one line. It must not matter which role initdb itself created.

/** The Postgres database of every shard that holds the schema `multigres`. */
export const SYSTEM_DATABASE = 'postgres'
/** The superuser of users; clients know its password. */
export const USER_ROLE = 'postgres'
/**
 * The system's own superuser: no password, so only the unix socket (in a 0700 folder) lets it in.
 */
export const SYSTEM_ROLE = 'multigres'
/** What followers stream as; the only role, with a password, that TCP admits. */
export const REPLICATION_ROLE = 'multigres_replication'

/** What the first rule and the roles of a new shard need. */
export type InitSqlOptions = {
  /** Shard name, the key of its rule row: `0-inf`. */
  readonly shard: string
  /** Durability policy by name, as `at_least_2`. */
  readonly durability: string
  /** Lease length of the first rule. */
  readonly leaseMs: number
  /** Plain text, or a SCRAM verifier (`SCRAM-SHA-256$…`), which Postgres stores as it is. */
  readonly postgresPassword: string
  /** As `postgresPassword`; undefined: nobody can stream from it over TCP. */
  readonly replicationPassword: string | undefined
}

/**
 * Statements for pgctld's Init, in order, to be run in database `postgres`. They contain passwords:
 * never log them.
 */
export function initSql(options: InitSqlOptions): string[] {
  return [
    ...roleSql(USER_ROLE, `SUPERUSER LOGIN PASSWORD ${password(options.postgresPassword)}`),
    ...roleSql(SYSTEM_ROLE, 'SUPERUSER LOGIN REPLICATION PASSWORD NULL'),
    ...roleSql(
      REPLICATION_ROLE,
      `NOSUPERUSER LOGIN REPLICATION PASSWORD ${password(options.replicationPassword)}`,
    ),
    `CREATE SCHEMA multigres AUTHORIZATION ${SYSTEM_ROLE}`,
    'REVOKE ALL ON SCHEMA multigres FROM PUBLIC',
    REWIND_SQL,
    CURRENT_RULE_SQL,
    RULE_HISTORY_SQL,
    HEARTBEAT_SQL,
    ...['current_rule', 'rule_history', 'heartbeat'].map(
      (table) => `ALTER TABLE multigres.${table} OWNER TO ${SYSTEM_ROLE}`,
    ),
    firstRuleSql(options),
    firstHistorySql(options),
  ]
}

/**
 * initdb may have made the role already: create it if it is missing, then give it its attributes.
 */
function roleSql(role: string, attributes: string): string[] {
  const known = `SELECT FROM pg_catalog.pg_roles WHERE rolname = ${literal(role)}`
  return [
    `DO $$BEGIN IF NOT EXISTS (${known}) THEN CREATE ROLE ${role}; END IF; END$$`,
    `ALTER ROLE ${role} ${attributes}`,
  ]
}

const oneLine = (text: string): string => text.replace(/\s+/g, ' ').trim()

// What pg_rewind reads its source with: files of the data directory, all of which are in every base
// backup, too.
const REWIND_SQL = oneLine(`
  GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean),
    pg_catalog.pg_stat_file(text, boolean), pg_catalog.pg_read_binary_file(text),
    pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) TO ${REPLICATION_ROLE}`)

// Partly filled groups are impossible states, so Postgres itself refuses them.
const CURRENT_RULE_SQL = oneLine(`
  CREATE TABLE multigres.current_rule (
    shard_id text PRIMARY KEY,
    decision_coordinator_term bigint NOT NULL,
    decision_leader_subterm bigint NOT NULL,
    leader_id text,
    coordinator_id text NOT NULL,
    cohort_members text[] NOT NULL,
    cohort_incarnations text[] NOT NULL,
    durability_policy text NOT NULL,
    lease_ms integer NOT NULL,
    created_at timestamptz NOT NULL,
    proposal_coordinator_term bigint,
    proposal_leader_subterm bigint,
    proposal_leader_id text,
    proposal_coordinator_id text,
    proposal_cohort_members text[],
    proposal_cohort_incarnations text[],
    proposal_durability_policy text,
    proposal_lease_ms integer,
    proposal_created_at timestamptz,
    CONSTRAINT cohort_is_paired CHECK
      (cardinality(cohort_members) = cardinality(cohort_incarnations)),
    CONSTRAINT proposal_is_whole CHECK (num_nulls(
      proposal_coordinator_term, proposal_leader_subterm, proposal_coordinator_id,
      proposal_cohort_members, proposal_cohort_incarnations,
      proposal_durability_policy, proposal_lease_ms, proposal_created_at) IN (0, 8)),
    CONSTRAINT proposal_is_newer CHECK (proposal_coordinator_term IS NULL OR
      (proposal_coordinator_term, proposal_leader_subterm) >
      (decision_coordinator_term, decision_leader_subterm)))`)

const RULE_HISTORY_SQL = oneLine(`
  CREATE TABLE multigres.rule_history (
    coordinator_term bigint NOT NULL,
    leader_subterm bigint NOT NULL,
    event_type text NOT NULL,
    leader_id text,
    coordinator_id text NOT NULL,
    wal_position pg_lsn,
    reason text NOT NULL,
    cohort_members text[] NOT NULL,
    cohort_incarnations text[] NOT NULL,
    accepted_members text[] NOT NULL,
    durability_policy text NOT NULL,
    lease_ms integer NOT NULL,
    decided boolean NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (coordinator_term, leader_subterm))`)

// A commit of the leader's own, now and then: a hung disk hangs it, where SELECT 1 would go on.
const HEARTBEAT_SQL = oneLine(`
  CREATE TABLE multigres.heartbeat (
    shard_id text PRIMARY KEY,
    leader_id text NOT NULL,
    beat_at timestamptz NOT NULL)`)

/** The rule {0,1}: a policy, nobody in the cohort, nobody leads. {0,0} would read as "unset". */
function firstRuleSql({ shard, durability, leaseMs }: InitSqlOptions): string {
  return oneLine(`
    INSERT INTO multigres.current_rule (shard_id, decision_coordinator_term,
      decision_leader_subterm, leader_id, coordinator_id, cohort_members, cohort_incarnations,
      durability_policy, lease_ms, created_at)
    VALUES (${literal(shard)}, 0, 1, NULL, '', '{}', '{}', ${literal(durability)}, ${leaseMs},
      now())`)
}

function firstHistorySql({ durability, leaseMs }: InitSqlOptions): string {
  return oneLine(`
    INSERT INTO multigres.rule_history (coordinator_term, leader_subterm, event_type, leader_id,
      coordinator_id, wal_position, reason, cohort_members, cohort_incarnations, accepted_members,
      durability_policy, lease_ms, decided, created_at)
    VALUES (0, 1, 'init', NULL, '', NULL, 'initdb', '{}', '{}', '{}', ${literal(durability)},
      ${leaseMs}, true, now())`)
}

function password(text: string | undefined): string {
  return text === undefined ? 'NULL' : literal(text)
}

/** A string constant of SQL. @throws RangeError on what a single-user line cannot carry. */
function literal(value: string): string {
  if (/[\0\r\n]/.test(value)) throw new RangeError('a password or name must not have line ends')
  const quoted = value.replaceAll("'", "''").replaceAll('\\', '\\\\')
  return value.includes('\\') ? `E'${quoted}'` : `'${quoted}'`
}
