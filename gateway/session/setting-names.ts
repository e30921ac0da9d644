// What is known of settings by their names.

/** They belong to the transaction: Postgres itself takes them back. */
const OF_TRANSACTION: ReadonlySet<string> = new Set([
  'transaction_isolation',
  'transaction_read_only',
  'transaction_deferrable',
])

/** No session keeps it beyond its transaction. */
export function isKeptByPostgres(name: string): boolean {
  return OF_TRANSACTION.has(name)
}

/** They decide how the SQL of later texts is cut into tokens. */
export function changesReading(name: string): boolean {
  return name === 'standard_conforming_strings' || name === 'client_encoding'
}

/**
 * Settings that many clients set, and that change neither what a literal stands for nor which
 * tables a statement means. All others may.
 */
const ABOUT_RUNNING: ReadonlySet<string> = new Set([
  'application_name',
  'bytea_output',
  'client_min_messages',
  'deadlock_timeout',
  'default_transaction_deferrable',
  'default_transaction_isolation',
  'default_transaction_read_only',
  'effective_cache_size',
  'extra_float_digits',
  'idle_in_transaction_session_timeout',
  'idle_session_timeout',
  'jit',
  'lock_timeout',
  'maintenance_work_mem',
  'plan_cache_mode',
  'random_page_cost',
  'row_security',
  'seed',
  'statement_timeout',
  'synchronous_commit',
  'tcp_user_timeout',
  'temp_buffers',
  'transaction_timeout',
  'work_mem',
])
const ABOUT_PLANNING = /^(?:enable_|log_|track_|debug_|max_parallel_|parallel_|geqo)/

/** Whether a statement that is prepared under another value may mean something else. */
export function readsLiterals(name: string): boolean {
  return !name.includes('.') && !ABOUT_RUNNING.has(name) && !ABOUT_PLANNING.test(name)
}
