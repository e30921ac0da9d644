// The tables of the embedded store and how a process opens the file.
import { Database } from 'bun:sqlite'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { TopologyError } from '../topology.ts'

/** Bumped when a table changes in a way that an older program would misread. */
const SCHEMA_VERSION = 1n

// A busy file blocks the whole process while SQLite waits, so the wait is short and the caller
// tries again later without blocking.
const BUSY_TIMEOUT_MS = 20

// `events` is the history that watches replay, one row per key and revision; `meta.compacted` is
// the last revision no longer in it. Leases have AUTOINCREMENT so that an id never means another
// lease.
const SCHEMA = `
  CREATE TABLE IF NOT EXISTS meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL,
    compacted INTEGER NOT NULL
  );
  INSERT OR IGNORE INTO meta VALUES (1, 0, 0);
  CREATE TABLE IF NOT EXISTS entries (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    revision INTEGER NOT NULL,
    create_revision INTEGER NOT NULL,
    lease INTEGER
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS entries_lease ON entries (lease) WHERE lease IS NOT NULL;
  CREATE TABLE IF NOT EXISTS events (
    revision INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT,
    create_revision INTEGER,
    lease INTEGER,
    previous_revision INTEGER,
    PRIMARY KEY (revision, key)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS leases (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ttl_ms INTEGER NOT NULL,
    deadline_ms INTEGER NOT NULL,
    boot_id TEXT NOT NULL
  );
`

/**
 * Opens the file, made with mode 0600 in a folder of 0700 where there is none.
 * @throws SQLiteError, or the file system's error; TopologyError invalid for another program's file
 */
export function openDatabase(path: string): Database {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  closeSync(openSync(path, 'a', 0o600)) // SQLite's own would be 0644; -wal and -shm take this one's
  const db = new Database(path, { readwrite: true, safeIntegers: true, strict: true })
  try {
    // First of all: without it everything below fails when processes start together.
    db.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`)
    const version = checkVersion(db) // before anything is written to it
    db.run('PRAGMA journal_mode = WAL')
    db.run('PRAGMA synchronous = FULL')
    if (version === 0n) db.transaction(migrate).immediate(db)
  } catch (error) {
    db.close()
    throw error
  }
  return db
}

function migrate(db: Database): void {
  if (checkVersion(db) === SCHEMA_VERSION) return // another process was faster
  db.run(SCHEMA)
  db.run(`PRAGMA user_version = ${SCHEMA_VERSION}`)
}

/** Ours, or 0 for an empty file. */
function checkVersion(db: Database): bigint {
  const version = db.query<{ user_version: bigint }, []>('PRAGMA user_version').get()?.user_version
  if (version === 0n || version === SCHEMA_VERSION) return version
  throw new TopologyError('invalid', `topology file has version ${version}, not ${SCHEMA_VERSION}`)
}
