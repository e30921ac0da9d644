// What a request to the topology may be. Both stores refuse the same, before any I/O: a program
// that works on the embedded store does not meet its first limit on etcd.
import { TopologyError, type Compare, type Write } from './topology.ts'

/** Longest key, in bytes of UTF-8. */
export const KEY_BYTES_MAX = 1024
/** Longest value, in bytes of UTF-8. etcd refuses requests over 1.5 MB by default. */
export const VALUE_BYTES_MAX = 1024 * 1024
/** Entries of one list, and so of one watch. Past it the layout is wrong, not the limit. */
export const LIST_ENTRIES_MAX = 100_000
/** Compares and writes of one transaction, each: etcd's default for --max-txn-ops. */
export const TRANSACTION_OPS_MAX = 128
/** Shortest and longest time to live: etcd counts whole seconds, from 2 (1 is granted as 2). */
export const LEASE_TTL_MS_MIN = 100
export const LEASE_TTL_MS_MAX = 24 * 3_600_000

// Printable ASCII only: all stores and JavaScript then sort keys alike, and a prefix has a plain
// end.
const KEY = /^[\x20-\x7e]+$/

/**
 * @throws TopologyError invalid unless `key` is 1 to KEY_BYTES_MAX characters of printable ASCII.
 */
export function checkKey(key: string): void {
  if (key.length <= KEY_BYTES_MAX && KEY.test(key)) return
  throw new TopologyError('invalid', `bad topology key ${JSON.stringify(key.slice(0, 100))}`)
}

/** As checkKey, but empty is every key. @throws TopologyError invalid */
export function checkPrefix(prefix: string): void {
  if (prefix !== '') checkKey(prefix)
}

/** @throws TopologyError invalid when `value` is too long. */
export function checkValue(key: string, value: string): void {
  const sizeBytes = Buffer.byteLength(value)
  if (sizeBytes <= VALUE_BYTES_MAX) return
  throw new TopologyError(
    'invalid',
    `value of ${key} has ${sizeBytes} bytes, over ${VALUE_BYTES_MAX}`,
  )
}

/**
 * @throws TopologyError invalid for too many operations, a key written twice, a bad key or value.
 */
export function checkTransaction(compares: readonly Compare[], writes: readonly Write[]): void {
  if (compares.length > TRANSACTION_OPS_MAX || writes.length > TRANSACTION_OPS_MAX) {
    throw new TopologyError(
      'invalid',
      `a transaction has at most ${TRANSACTION_OPS_MAX} operations`,
    )
  }
  for (const { key } of compares) checkKey(key)
  const written = new Set<string>()
  for (const write of writes) {
    const key = 'put' in write ? write.put : write.delete
    checkKey(key)
    if ('put' in write) checkValue(key, write.value)
    if (written.has(key)) throw new TopologyError('invalid', `transaction writes ${key} twice`)
    written.add(key)
  }
}

/** @throws TopologyError invalid for a time to live outside the limits. */
export function checkTtl(ttlMs: number): void {
  if (ttlMs >= LEASE_TTL_MS_MIN && ttlMs <= LEASE_TTL_MS_MAX) return
  throw new TopologyError('invalid', `lease of ${ttlMs} ms is not within the limits`)
}

/** The first string after all that start with `prefix`; after all keys when it is empty. */
export function prefixEnd(prefix: string): string {
  if (prefix === '') return '\x7f'
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)
}
