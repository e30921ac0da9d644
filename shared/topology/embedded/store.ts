// The embedded store's transactions, synchronous, over one open file that other processes write
// too.
//
// Invariants: a transaction that changes something takes exactly one revision, the successor of the
// last; each of its changes is in `events` under it. A key under a lease exists only as long as
// that lease's row. A lease counts as expired past its deadline on CLOCK_BOOTTIME, or under another
// boot id; only a transaction that has checked this itself deletes it.
import type { Database } from 'bun:sqlite'
import { assert } from '../../errors/assert.ts'
import { bootId, bootTimeMs } from '../../time/clock.ts'
import { LIST_ENTRIES_MAX, prefixEnd } from '../limits.ts'
import { TopologyError, type Compare, type Entry, type LeaseRef, type Write } from '../topology.ts'
import type { Change } from '../watch-loop.ts'

/** Revisions kept for watches to replay. A watch that was away for longer lists anew. */
export const HISTORY_REVISIONS_MAX = 4096
// History is cut once this share of it is too old, not at every write.
const HISTORY_SLACK = 1 / 16
/** Rows read at once for a watch. More than a transaction can write, so that one always fits. */
const CHANGES_PER_READ = 512
const EXPIRED_PER_SWEEP = 64

type EntryRow = {
  key: string
  value: string
  revision: bigint
  create_revision: bigint
  lease: bigint | null
}
type EventRow = {
  key: string
  revision: bigint
  value: string | null
  create_revision: bigint | null
  lease: bigint | null
}
type Meta = { revision: bigint; compacted: bigint }

const EXPIRED = '(boot_id <> ? OR deadline_ms <= ?)'

/** What a write came to: false when a compare failed; otherwise its entries by key. */
export type WriteResult = false | { entries: Map<string, Entry>; deleted: Set<string> }

/**
 * Owns `db` and closes it. Methods throw SQLiteError as it comes; SQLITE_BUSY is to be tried again.
 */
export class EmbeddedStore implements Disposable {
  readonly #db: Database
  readonly #historyMax: bigint
  readonly #sql: ReturnType<typeof prepare>

  constructor(db: Database, options: { historyRevisionsMax?: number } = {}) {
    this.#db = db
    this.#historyMax = BigInt(options.historyRevisionsMax ?? HISTORY_REVISIONS_MAX)
    this.#sql = prepare(db)
  }

  get(key: string): Entry | undefined {
    const row = this.#sql.get.get(key)
    return row === null ? undefined : toEntry(row)
  }

  /** @throws TopologyError invalid past LIST_ENTRIES_MAX */
  list(prefix: string): { entries: Entry[]; revision: bigint } {
    return this.#read(() => {
      const rows = this.#sql.list.all(prefix, prefixEnd(prefix), LIST_ENTRIES_MAX + 1)
      if (rows.length > LIST_ENTRIES_MAX) {
        throw new TopologyError('invalid', `more than ${LIST_ENTRIES_MAX} keys under ${prefix}`)
      }
      return { entries: rows.map(toEntry), revision: this.#meta().revision }
    })
  }

  /** All of `writes` in one revision, if every compare holds. @throws TopologyError lease_lost */
  write(compares: readonly Compare[], writes: readonly Write[]): WriteResult {
    return this.#write(() => {
      for (const { key, revision } of compares) {
        if ((this.get(key)?.revision ?? 0n) !== revision) return false
      }
      const revision = this.#meta().revision + 1n
      const result = { entries: new Map<string, Entry>(), deleted: new Set<string>() }
      for (const write of writes) {
        if ('put' in write) result.entries.set(write.put, this.#put(write, revision))
        else if (this.#delete(write.delete, revision)) result.deleted.add(write.delete)
      }
      if (result.entries.size + result.deleted.size > 0) this.#commitRevision(revision)
      return result
    })
  }

  /** Grants a lease; its id. */
  grant(ttlMs: number): string {
    const row = this.#write(() => this.#sql.grant.get(ttlMs, deadline(ttlMs), bootId()))
    assert(row, 'INSERT RETURNING gives its row')
    return String(row.id)
  }

  /** Moves the deadline of a lease that is still alive. False when it is not. */
  renew(id: string, ttlMs: number): boolean {
    // Losing a renewal to a power cut loses nothing: a new boot ends all leases. So no fsync for
    // it.
    this.#db.run('PRAGMA synchronous = NORMAL')
    try {
      const changes = this.#write(
        () => this.#sql.renew.run(deadline(ttlMs), BigInt(id), bootId(), bootTimeMs()).changes,
      )
      return changes > 0
    } finally {
      this.#db.run('PRAGMA synchronous = FULL')
    }
  }

  /** Until the deadline of a lease; undefined when there is none. */
  remainingMs(id: string): number | undefined {
    const row = this.#sql.lease.get(BigInt(id))
    if (row === null || row.boot_id !== bootId()) return undefined
    const remainingMs = Number(row.deadline_ms) - bootTimeMs()
    return remainingMs > 0 ? remainingMs : undefined
  }

  /** Ends a lease and deletes its keys. */
  revoke(id: string): void {
    this.#write(() => {
      if (this.#sql.revoke.run(BigInt(id)).changes > 0) this.#deleteKeysOf(BigInt(id))
    })
  }

  /** Whether some lease has expired and is still here. */
  hasExpired(): boolean {
    return this.#sql.expired.all(bootId(), bootTimeMs(), 1).length > 0
  }

  /** Deletes expired leases with their keys. Whether it deleted any. */
  sweep(): boolean {
    return this.#write(() => {
      const rows = this.#sql.expired.all(bootId(), bootTimeMs(), EXPIRED_PER_SWEEP)
      for (const { id } of rows) {
        this.#sql.revoke.run(id)
        this.#deleteKeysOf(id)
      }
      return rows.length > 0
    })
  }

  /** A number that changes when another connection has written. */
  dataVersion(): bigint {
    return this.#sql.dataVersion.get()?.data_version ?? 0n
  }

  /** @throws TopologyError compacted when `revision` is out of history or has not been yet */
  revisionsAt(prefix: string, revision: bigint): Map<string, bigint> {
    return this.#read(() => {
      this.#checkHistory(revision)
      const end = prefixEnd(prefix)
      const then = new Map<string, bigint>()
      for (const row of this.#sql.list.all(prefix, end, LIST_ENTRIES_MAX)) {
        then.set(row.key, row.revision)
      }
      // Newest first, so that what remains for a key is what its first change since has replaced.
      for (const row of this.#sql.undo.all(revision, prefix, end)) {
        if (row.previous_revision === null) then.delete(row.key)
        else then.set(row.key, row.previous_revision)
      }
      return then
    })
  }

  /**
   * Changes from revision `from` on, up to a bound but never half a transaction, and where to go
   * on.
   * @throws TopologyError compacted as revisionsAt
   */
  changesFrom(prefix: string, from: bigint): { changes: Change[]; next: bigint } {
    return this.#read(() => {
      this.#checkHistory(from - 1n)
      const rows = this.#sql.changes.all(from, prefix, prefixEnd(prefix), CHANGES_PER_READ)
      const last = rows.at(-1)?.revision
      if (last === undefined || rows.length < CHANGES_PER_READ) {
        return { changes: rows.map(toChange), next: this.#meta().revision + 1n }
      }
      const whole = rows.filter((row) => row.revision < last) // the last one may be cut
      return { changes: whole.map(toChange), next: last }
    })
  }

  [Symbol.dispose](): void {
    this.#db.close()
  }

  #put(write: { put: string; value: string; lease?: LeaseRef }, revision: bigint): Entry {
    const { put: key, value } = write
    const lease = write.lease === undefined ? null : this.#aliveLease(write.lease.id)
    const before = this.#sql.get.get(key)
    const create_revision = before?.create_revision ?? revision
    this.#sql.put.run(key, value, revision, create_revision, lease)
    this.#sql.event.run(revision, key, value, create_revision, lease, before?.revision ?? null)
    return toEntry({ key, value, revision, create_revision, lease })
  }

  #delete(key: string, revision: bigint): boolean {
    const before = this.#sql.delete.get(key)
    if (before === null) return false
    this.#sql.event.run(revision, key, null, null, null, before.revision)
    return true
  }

  #deleteKeysOf(lease: bigint): void {
    const revision = this.#meta().revision + 1n
    const rows = this.#sql.keysOf.all(lease)
    for (const { key } of rows) this.#delete(key, revision)
    if (rows.length > 0) this.#commitRevision(revision)
  }

  #aliveLease(id: string): bigint {
    const row = this.#sql.lease.get(BigInt(id))
    if (row !== null && row.boot_id === bootId() && Number(row.deadline_ms) > bootTimeMs()) {
      return row.id
    }
    throw new TopologyError('lease_lost', `lease ${id} is expired or revoked`)
  }

  #commitRevision(revision: bigint): void {
    const { compacted } = this.#meta()
    this.#sql.setRevision.run(revision)
    const slack = BigInt(Math.ceil(Number(this.#historyMax) * HISTORY_SLACK))
    if (revision - compacted < this.#historyMax + slack) return
    const last = revision - this.#historyMax
    this.#sql.cutHistory.run(last)
    this.#sql.setCompacted.run(last)
  }

  #checkHistory(revision: bigint): void {
    const meta = this.#meta()
    if (revision >= meta.compacted && revision <= meta.revision) return
    const { compacted, revision: present } = meta
    const kept = `history is kept from ${compacted} to ${present}`
    throw new TopologyError('compacted', `revision ${revision} is out of history: ${kept}`)
  }

  #meta(): Meta {
    const meta = this.#sql.meta.get()
    assert(meta, 'the meta table has its row')
    return meta
  }

  /** One snapshot for several statements. */
  #read<T>(body: () => T): T {
    return this.#db.transaction(body).deferred()
  }

  /** IMMEDIATE: a deferred one that turns into a writer cannot wait and fails at once. */
  #write<T>(body: () => T): T {
    return this.#db.transaction(body).immediate()
  }
}

function deadline(ttlMs: number): number {
  return Math.ceil(bootTimeMs() + ttlMs)
}

function toEntry(row: EntryRow): Entry {
  const { key, value, revision, create_revision: createRevision, lease } = row
  return { key, value, revision, createRevision, ...(lease !== null && { lease: String(lease) }) }
}

function toChange(row: EventRow): Change {
  const { key, value, revision, create_revision, lease } = row
  if (value === null || create_revision === null) return { key, revision }
  return { key, revision, entry: toEntry({ key, value, revision, create_revision, lease }) }
}

type Bindings = (string | number | bigint | null)[]

function prepare(db: Database) {
  const sql = <Row, Params extends Bindings>(text: string) => db.query<Row, Params>(text)
  const entry = 'key, value, revision, create_revision, lease'
  return {
    meta: sql<Meta, []>('SELECT revision, compacted FROM meta'),
    setRevision: sql<void, [bigint]>('UPDATE meta SET revision = ?'),
    setCompacted: sql<void, [bigint]>('UPDATE meta SET compacted = ?'),
    cutHistory: sql<void, [bigint]>('DELETE FROM events WHERE revision <= ?'),
    get: sql<EntryRow, [string]>(`SELECT ${entry} FROM entries WHERE key = ?`),
    list: sql<EntryRow, [string, string, number]>(
      `SELECT ${entry} FROM entries WHERE key >= ? AND key < ? ORDER BY key LIMIT ?`,
    ),
    put: sql<void, [string, string, bigint, bigint, bigint | null]>(
      `INSERT OR REPLACE INTO entries (${entry}) VALUES (?, ?, ?, ?, ?)`,
    ),
    delete: sql<{ revision: bigint }, [string]>(
      'DELETE FROM entries WHERE key = ? RETURNING revision',
    ),
    event: sql<void, [bigint, string, string | null, bigint | null, bigint | null, bigint | null]>(
      'INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)',
    ),
    changes: sql<EventRow, [bigint, string, string, number]>(
      `SELECT ${entry} FROM events WHERE revision >= ? AND key >= ? AND key < ?
       ORDER BY revision, key LIMIT ?`,
    ),
    undo: sql<{ key: string; previous_revision: bigint | null }, [bigint, string, string]>(
      `SELECT key, previous_revision FROM events WHERE revision > ? AND key >= ? AND key < ?
       ORDER BY revision DESC`,
    ),
    grant: sql<{ id: bigint }, [number, number, string]>(
      'INSERT INTO leases (ttl_ms, deadline_ms, boot_id) VALUES (?, ?, ?) RETURNING id',
    ),
    lease: sql<{ id: bigint; deadline_ms: bigint; boot_id: string }, [bigint]>(
      'SELECT id, deadline_ms, boot_id FROM leases WHERE id = ?',
    ),
    renew: sql<void, [number, bigint, string, number]>(
      `UPDATE leases SET deadline_ms = ? WHERE id = ? AND NOT ${EXPIRED}`,
    ),
    revoke: sql<void, [bigint]>('DELETE FROM leases WHERE id = ?'),
    expired: sql<{ id: bigint }, [string, number, number]>(
      `SELECT id FROM leases WHERE ${EXPIRED} LIMIT ?`,
    ),
    keysOf: sql<{ key: string }, [bigint]>('SELECT key FROM entries WHERE lease = ?'),
    dataVersion: sql<{ data_version: bigint }, []>('PRAGMA data_version'),
  }
}
