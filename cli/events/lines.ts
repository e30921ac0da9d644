import type { MergedEvent } from './merge.ts'

/** A silence after which another story begins. */
const PAUSE_MS = 10_000

/** Lines for people: when, who, what, how long; a blank line between one story and the next. */
export class EventLines {
  #lastMs: number | undefined
  #day = ''

  /** The lines of one more event. */
  of(event: MergedEvent): string[] {
    const atMs = Date.parse(event.at)
    const [day = '', time = ''] = event.at.replace('Z', '').split('T')
    const pause = this.#lastMs !== undefined && atMs - this.#lastMs > PAUSE_MS
    const newDay = day === this.#day ? [] : [`${day} (UTC)`]
    this.#lastMs = atMs
    this.#day = day
    const others = event.seen_by.length > 1 ? ` (+${event.seen_by.length - 1})` : ''
    // What ends a phase tells how long it took, unless its text does.
    const told = event.took_ms === null || / m?s\b/.test(event.text)
    const took = told ? '' : ` [${event.took_ms} ms]`
    return [
      ...(pause ? [''] : []),
      ...newDay,
      `${time}  ${event.by}${others}  ${plain(event.text)}${took}`,
    ]
  }
}

/** A query may hold anything, and a terminal obeys some of it. */
const plain = (text: string): string => text.replace(/\p{Cc}/gu, '?')
