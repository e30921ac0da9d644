// The words that the classifier knows, found in the bytes of a statement without making a string.
//
// A word is looked up by a hash over its bytes with ASCII letters folded, then compared byte by
// byte, so that a collision of hashes never makes a word out of another.

import { foldHash, HASH_SEED } from '../../shared/link/watch.ts'

/** Codes of commands, keywords and functions. Functions come last: they also match when quoted. */
export const Word = {
  None: 0,
  // Commands that leave nothing behind in a session, beside what their other words say.
  Plain: 1,
  Select: 2,
  Show: 3,
  // Commands that are looked at more closely.
  Begin: 10,
  Commit: 11,
  Rollback: 12,
  Prepare: 13,
  Execute: 14,
  Deallocate: 15,
  Set: 16,
  Reset: 17,
  Discard: 18,
  Listen: 19,
  Load: 20,
  Call: 21,
  Declare: 22,
  Create: 23,
  Insert: 24,
  Explain: 25,
  Update: 26,
  Do: 27,
  /** They may undo what pins a session. */
  Undoes: 28,
  /** They fill tables, as INSERT does. */
  Fills: 29,
  Unlisten: 30,
  /** They change the catalogs. */
  Alters: 32,
  Drops: 33,
  // Keywords that matter inside a statement.
  All: 40,
  Transaction: 41,
  Constraints: 42,
  Local: 43,
  Session: 44,
  Global: 45,
  Temp: 46,
  Or: 47,
  Replace: 48,
  Into: 49,
  Hold: 50,
  With: 51,
  To: 52,
  As: 53,
  Routine: 54,
  Extension: 55,
  Atomic: 56,
  Case: 57,
  // Functions and relations that reach session state. From here on quoted names match too.
  SetConfig: 80,
  Setseed: 81,
  Sequence: 82,
  AdvisoryLock: 83,
  PgTemp: 84,
  SessionBound: 85,
  PreparedStatements: 86,
  CustomSetting: 87,
  StandardStrings: 88,
  SettingsView: 89,
  RunsText: 90,
  AdvisoryUnlock: 91,
  SynchronousCommit: 92,
  SequenceRead: 94,
  ConsoleDatabase: 93,
  ListeningChannels: 99,
  MakesText: 95,
} as const

/** The first code that a quoted identifier can have too. */
export const FIRST_FUNCTION = Word.SetConfig

const SPELLINGS: readonly (readonly [number, string])[] = [
  [
    Word.Plain,
    `delete values table savepoint release truncate grant revoke
    comment analyze analyse vacuum reindex cluster checkpoint lock refresh reassign security
    notify fetch move`,
  ],
  [Word.Select, 'select'],
  [Word.Show, 'show'],
  [Word.Begin, 'begin start'],
  [Word.Commit, 'commit end'],
  [Word.Rollback, 'rollback abort'],
  [Word.Prepare, 'prepare'],
  [Word.Execute, 'execute'],
  [Word.Deallocate, 'deallocate'],
  [Word.Set, 'set'],
  [Word.Reset, 'reset'],
  [Word.Discard, 'discard'],
  [Word.Listen, 'listen'],
  [Word.Load, 'load'],
  [Word.Do, 'do'],
  [Word.Call, 'call'],
  [Word.Unlisten, 'unlisten'],
  [Word.Drops, 'drop'],
  [Word.Undoes, 'close'],
  [Word.Declare, 'declare'],
  [Word.Create, 'create'],
  [Word.Alters, 'alter import'],
  [Word.Insert, 'insert'],
  [Word.Fills, 'copy merge'],
  [Word.Explain, 'explain'],
  [Word.Update, 'update'],
  [Word.All, 'all'],
  [Word.Transaction, 'transaction'],
  [Word.Constraints, 'constraints'],
  [Word.Local, 'local'],
  [Word.Session, 'session'],
  [Word.Global, 'global'],
  [Word.Temp, 'temp temporary'],
  [Word.Or, 'or'],
  [Word.Replace, 'replace'],
  [Word.Into, 'into'],
  [Word.Hold, 'hold'],
  [Word.With, 'with'],
  [Word.To, 'to'],
  [Word.As, 'as'],
  [Word.Routine, 'function procedure'],
  [Word.Extension, 'extension'],
  [Word.Atomic, 'atomic'],
  [Word.Case, 'case'],
  [Word.SetConfig, 'set_config'],
  [Word.Setseed, 'setseed'],
  [Word.Sequence, 'nextval setval'],
  [Word.SequenceRead, 'currval lastval'],
  [
    Word.AdvisoryLock,
    `pg_advisory_lock pg_advisory_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared`,
  ],
  [Word.AdvisoryUnlock, 'pg_advisory_unlock pg_advisory_unlock_shared pg_advisory_unlock_all'],
  [Word.SynchronousCommit, 'synchronous_commit'],
  [Word.ConsoleDatabase, 'multigres'],
  [Word.ListeningChannels, 'pg_listening_channels'],
  [Word.PgTemp, 'pg_temp'],
  // Connections, origins, slots and backups that end with the session, and nothing sooner.
  [
    Word.SessionBound,
    `dblink_connect dblink_connect_u dblink_open pg_replication_origin_session_setup
    pg_create_logical_replication_slot pg_create_physical_replication_slot
    pg_copy_logical_replication_slot pg_copy_physical_replication_slot
    pg_backup_start pg_start_backup`,
  ],
  [Word.PreparedStatements, 'pg_prepared_statements pg_prepared_statement'],
  [Word.CustomSetting, 'set_limit'],
  [Word.StandardStrings, 'standard_conforming_strings'],
  [Word.SettingsView, 'pg_settings'],
  // They run the SQL in their arguments: as it stands there, or as they make it.
  [Word.RunsText, `query_to_xml query_to_xmlschema query_to_xml_and_xmlschema ts_stat ts_rewrite`],
  [Word.MakesText, `crosstab crosstab2 crosstab3 crosstab4 connectby xpath_table`],
]

const SLOTS = 1024 // a power of two, about ten times the words: most lookups end at an empty slot
const slotWord = new Int16Array(SLOTS).fill(-1)
const texts: Buffer[] = []
const codes: number[] = []

function add(code: number, text: string): void {
  let hash: number = HASH_SEED
  for (const byte of Buffer.from(text)) hash = foldHash(hash, byte)
  let slot = hash & (SLOTS - 1)
  while (slotWord[slot] !== -1) slot = (slot + 1) & (SLOTS - 1)
  slotWord[slot] = texts.length
  texts.push(Buffer.from(text))
  codes.push(code)
}
for (const [code, spellings] of SPELLINGS) {
  for (const text of spellings.split(/\s+/)) add(code, text)
}

/**
 * The code of the word `bytes[start, end)`, whose hash is given; Word.None for all others.
 * @param exact letters must be small already, as in a quoted identifier.
 */
export function wordCode(
  bytes: Uint8Array,
  start: number,
  end: number,
  hash: number,
  exact: boolean,
): number {
  let slot = hash & (SLOTS - 1)
  for (;;) {
    const index = slotWord[slot] as number
    if (index === -1) return Word.None
    if (same(texts[index] as Buffer, bytes, start, end, exact)) return codes[index] as number
    slot = (slot + 1) & (SLOTS - 1)
  }
}

function same(
  text: Buffer,
  bytes: Uint8Array,
  start: number,
  end: number,
  exact: boolean,
): boolean {
  if (text.length !== end - start) return false
  for (let i = 0; i < text.length; i++) {
    let byte = bytes[start + i] as number
    if (!exact && byte >= 0x41 && byte <= 0x5a) byte |= 0x20
    if (byte !== text[i]) return false
  }
  return true
}
