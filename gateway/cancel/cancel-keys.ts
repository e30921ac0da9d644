// Process ids and keys of BackendKeyData. The upper bits of a process id say whose session it is,
// so that every gateway behind one port can pass a CancelRequest on to the one that has it.

import { timingSafeEqual } from 'node:crypto'
import { secretBytes } from '../../shared/scram/keys.ts'
import type { Session } from '../session/session.ts'

/** Sessions of one gateway: the lower bits of a process id. */
const NUMBER_BITS = 18
const NUMBER_MAX = (1 << NUMBER_BITS) - 1
/** Prefixes of gateways: 1 to this; process ids stay positive. */
export const PID_PREFIX_MAX = (1 << (31 - NUMBER_BITS)) - 1

/** The gateway's part of a process id. */
export function prefixOf(processId: number): number {
  return processId >>> NUMBER_BITS
}

/** A prefix for the gateway `id`: the same one always, and rarely another gateway's. */
export function preferredPrefix(id: string): number {
  return (Bun.hash.xxHash32(id) % PID_PREFIX_MAX) + 1
}

/** Somebody besides sessions who can be canceled. */
export type Cancelable = {
  readonly number: number
  readonly cancelKey: Buffer
  cancel(): void
}

/** The sessions of this gateway by process id, and others who have one. */
export class SessionTable {
  readonly prefix: number
  readonly #sessions = new Map<number, Session>()
  readonly #others = new Map<number, Cancelable>()
  #last = 0

  constructor(prefix: number) {
    this.prefix = prefix
  }

  get size(): number {
    return this.#sessions.size
  }

  values(): Iterable<Session> {
    return this.#sessions.values()
  }

  /** A process id that no session has. */
  nextNumber(): number {
    do {
      this.#last = this.#last >= NUMBER_MAX ? 1 : this.#last + 1
    } while (this.#has(this.#whole(this.#last)))
    return this.#whole(this.#last)
  }

  add(session: Session): void {
    this.#sessions.set(session.number, session)
  }

  remove(session: Session): void {
    if (this.#sessions.get(session.number) === session) this.#sessions.delete(session.number)
  }

  addOther(other: Cancelable): void {
    this.#others.set(other.number, other)
  }

  removeOther({ number }: Cancelable): void {
    this.#others.delete(number)
  }

  /** Whom a CancelRequest may cancel. */
  find(processId: number, key: Buffer): Cancelable | undefined {
    const session = this.#sessions.get(processId) ?? this.#others.get(processId)
    if (session === undefined || session.cancelKey.length !== key.length) return undefined
    return timingSafeEqual(session.cancelKey, key) ? session : undefined
  }

  #has(processId: number): boolean {
    return this.#sessions.has(processId) || this.#others.has(processId)
  }

  #whole(number: number): number {
    return (this.prefix << NUMBER_BITS) | number
  }
}

/** A key that nobody guesses, of as many bytes as the protocol allows. */
export function newCancelKey(bytes: number): Buffer {
  return secretBytes(bytes)
}
