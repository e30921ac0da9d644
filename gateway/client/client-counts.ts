import { fatal } from '../session/session-errors.ts'

/** Bounds of clients; read anew at each use. 0 is no bound, but for `clientsMax`. */
export type ClientLimits = {
  readonly clientsMax: number
  readonly clientsPerUserMax: number
  readonly clientsPerDatabaseMax: number
}

/** Bounds of those who have not proven who they are; read anew at each use. */
export type StrangerLimits = {
  readonly strangersMax: number
  /** Of one address; 0 is no bound of its own. */
  readonly strangersPerAddressMax: number
}

/** A client's place; disposing it, once, frees it. */
export interface Place extends Disposable {
  /** Others of the same user. */
  readonly sessions: number
}

/** Who is in, by user and by database. */
export class ClientCounts {
  #total = 0
  readonly #limits: ClientLimits
  readonly #users = new Map<string, number>()
  readonly #databases = new Map<string, number>()

  constructor(limits: ClientLimits) {
    this.#limits = limits
  }

  /** Takes a place. @throws PgError too_many_connections */
  take(user: string, database: string): Place {
    const { clientsMax, clientsPerUserMax, clientsPerDatabaseMax } = this.#limits
    const sessions = this.#users.get(user) ?? 0
    const inDatabase = this.#databases.get(database) ?? 0
    if (this.#total >= clientsMax) {
      throw fatal('too_many_connections', 'sorry, too many clients already')
    }
    if (clientsPerUserMax > 0 && sessions >= clientsPerUserMax) {
      throw fatal('too_many_connections', `too many connections for role "${user}"`)
    }
    if (clientsPerDatabaseMax > 0 && inDatabase >= clientsPerDatabaseMax) {
      throw fatal('too_many_connections', `too many connections for database "${database}"`)
    }
    this.add(user, database, 1)
    return new TakenPlace(this, sessions, user, database)
  }

  /** For places alone. */
  add(user: string, database: string, count: number): void {
    this.#total += count
    addTo(this.#users, user, count)
    addTo(this.#databases, database, count)
  }
}

/** Of one client: a class, since closures are a good part of what an idle client costs. */
class TakenPlace implements Place {
  readonly sessions: number
  readonly #user: string
  readonly #database: string
  #counts: ClientCounts | undefined

  constructor(counts: ClientCounts, sessions: number, user: string, database: string) {
    this.#counts = counts
    this.sessions = sessions
    this.#user = user
    this.#database = database
  }

  [Symbol.dispose](): void {
    this.#counts?.add(this.#user, this.#database, -1)
    this.#counts = undefined
  }
}

/**
 * Who is on the way in. They have places of their own: whoever just connects, or does not know a
 * password, takes none from those who do.
 */
export class StrangerCounts {
  #total = 0
  readonly #limits: StrangerLimits
  readonly #addresses = new Map<string, number>()

  constructor(limits: StrangerLimits) {
    this.#limits = limits
  }

  /** Takes a place, to be disposed once; undefined when there is none. '' is no address. */
  take(address: string): Disposable | undefined {
    const { strangersMax, strangersPerAddressMax } = this.#limits
    const same = this.#addresses.get(address) ?? 0
    if (this.#total >= strangersMax) return undefined
    if (address !== '' && strangersPerAddressMax > 0 && same >= strangersPerAddressMax) {
      return undefined
    }
    this.#total++
    addTo(this.#addresses, address, 1)
    let taken = true
    return {
      [Symbol.dispose]: () => {
        if (!taken) return
        taken = false
        this.#total--
        addTo(this.#addresses, address, -1)
      },
    }
  }
}

function addTo(counts: Map<string, number>, key: string, count: number): void {
  const next = (counts.get(key) ?? 0) + count
  if (next === 0) counts.delete(key)
  else counts.set(key, next)
}
