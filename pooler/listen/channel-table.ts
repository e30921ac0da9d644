// Which sessions of one database hear which channels. Pure.
//
// Invariant: a channel is in the table while somebody hears it, and no longer.

/** Sessions by channel, and channels by session. `S` is compared by identity. */
export class ChannelTable<S> {
  readonly #listeners = new Map<string, Set<S>>()
  readonly #channels = new Map<S, Set<string>>()

  /** Sessions that hear at least one channel. */
  get sessions(): number {
    return this.#channels.size
  }

  /** Channels that are heard. */
  get channels(): Iterable<string> {
    return this.#listeners.keys()
  }

  get channelCount(): number {
    return this.#listeners.size
  }

  /** Whether anybody hears `channel`. */
  heard(channel: string): boolean {
    return this.#listeners.has(channel)
  }

  /** Whether `session` hears `channel`. */
  hears(session: S, channel: string): boolean {
    return this.#channels.get(session)?.has(channel) === true
  }

  /** Whether `session` hears anything. */
  hearsAny(session: S): boolean {
    return this.#channels.has(session)
  }

  /** The channels of one session. */
  channelsOf(session: S): readonly string[] {
    return [...(this.#channels.get(session) ?? [])]
  }

  /** Who hears `channel`. Sessions may be removed while it is walked. */
  listeners(channel: string): Iterable<S> {
    return this.#listeners.get(channel) ?? NOBODY
  }

  /** All who hear anything; a copy. */
  allSessions(): S[] {
    return [...this.#channels.keys()]
  }

  add(session: S, channel: string): void {
    into(this.#listeners, channel, session)
    into(this.#channels, session, channel)
  }

  /** True when nobody hears it any more. */
  remove(session: S, channel: string): boolean {
    if (!out(this.#channels, session, channel)) return false
    out(this.#listeners, channel, session)
    return !this.#listeners.has(channel)
  }

  /** Removes all of a session. The channels that nobody hears any more. */
  removeAll(session: S): string[] {
    return this.channelsOf(session).filter((channel) => this.remove(session, channel))
  }
}

const NOBODY: readonly never[] = []

function into<K, V>(map: Map<K, Set<V>>, key: K, value: V): void {
  const set = map.get(key)
  if (set === undefined) map.set(key, new Set([value]))
  else set.add(value)
}

function out<K, V>(map: Map<K, Set<V>>, key: K, value: V): boolean {
  const set = map.get(key)
  if (set?.delete(value) !== true) return false
  if (set.size === 0) map.delete(key)
  return true
}
