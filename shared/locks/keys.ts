// Where a lock lies in the topology. Below `locks/ID/`:
//
//   holder                       exists while the lock is held; its create revision is the token
//   q/PRIORITY/TICKET/CLIENT     one for each waiter; their order is that of the keys
//   queue                        the next ticket; written by everything that adds to the queue,
//                                and deleted only by what leaves nobody in it
//   req/CLIENT/REQUEST           a request that got the lock; its revision is the token it got
//
// Names are encoded so that no two can meet and none reaches out of its place.
import { PRIORITY_MAX } from './limits.ts'

export const LOCKS_PREFIX = 'locks/'

/** The keys of one lock. */
export type LockKeys = {
  readonly prefix: string
  readonly holder: string
  readonly queue: string
  readonly waiters: string
}

/** A place in a queue. */
export type Place = { readonly priority: number; readonly ticket: number; readonly client: string }

/** The keys of lock `id`. */
export function lockKeys(id: string): LockKeys {
  const prefix = `${LOCKS_PREFIX}${encodeName(id)}/`
  return { prefix, holder: `${prefix}holder`, queue: `${prefix}queue`, waiters: `${prefix}q/` }
}

/** The key of a waiter: higher priorities first, then lower tickets. */
export function waiterKey(keys: LockKeys, { priority, ticket, client }: Place): string {
  const rank = String(PRIORITY_MAX - priority).padStart(4, '0')
  return `${keys.waiters}${rank}/${String(ticket).padStart(16, '0')}/${encodeName(client)}`
}

/** The place that a waiter's key says; undefined when it is no such key. */
export function placeOf(keys: LockKeys, key: string): Place | undefined {
  if (!key.startsWith(keys.waiters)) return undefined
  const [rank, ticket, client] = key.slice(keys.waiters.length).split('/')
  if (rank === undefined || ticket === undefined || client === undefined) return undefined
  return {
    priority: PRIORITY_MAX - Number(rank),
    ticket: Number(ticket),
    client: decodeName(client),
  }
}

/** The key of the record that a request was granted. */
export function requestKey(
  keys: LockKeys,
  request: { readonly client: string; readonly requestId: string },
): string {
  return `${keys.prefix}req/${encodeName(request.client)}/${encodeName(request.requestId)}`
}

/** The lock that a key belongs to; undefined when it is none of a lock. */
export function lockOf(key: string): string | undefined {
  if (!key.startsWith(LOCKS_PREFIX)) return undefined
  const name = key.slice(LOCKS_PREFIX.length).split('/', 1)[0]
  return name === undefined ? undefined : decodeName(name)
}

/** Injective, printable, and without a slash. */
export function encodeName(name: string): string {
  return encodeURIComponent(name)
}

/** The name that was encoded. */
export function decodeName(text: string): string {
  return decodeURIComponent(text)
}
