// Goal: a watch tells every change once and in order, or, over a gap in history, the difference.
// Method: a naive store that compacts, fails and cuts streams at random, from a seed; a consumer that
// keeps what it is told must end up with the store's state, and never see a revision go back.
import { expect, test } from 'bun:test'
import { nullLogger } from '../log/logger.ts'
import { Random } from '../../test/support/random.ts'
import { FakeTime } from '../time/fake-time.ts'
import { TopologyError, type Entry } from './topology.ts'
import { watchLoop, type Change, type WatchSource } from './watch-loop.ts'

const SEEDS = 300
const WRITES = 60

/** The store: everything that ever happened, and from where on it may be asked for. */
class Model implements WatchSource {
  readonly #random: Random
  readonly log: Change[] = []
  compacted = 0n
  #asked = false // before that, a compaction would be the asker's own loss
  #wake = Promise.withResolvers<void>()

  constructor(random: Random) {
    this.#random = random
  }

  get revision(): bigint {
    return this.log.at(-1)?.revision ?? 0n
  }

  write(): void {
    const key = `k${Math.floor(this.#random.next() * 4)}`
    const revision = this.revision + 1n
    const present = this.at(this.revision).get(key)
    const createRevision = present?.createRevision ?? revision
    const entry: Entry = { key, value: String(revision), revision, createRevision }
    if (present === undefined || this.#random.next() < 0.6) this.log.push({ key, revision, entry })
    else this.log.push({ key, revision })
    if (this.#asked && this.#random.next() < 0.1) this.compacted = this.revision
    this.#wake.resolve()
  }

  at(revision: bigint): Map<string, Entry> {
    const state = new Map<string, Entry>()
    for (const change of this.log) {
      if (change.revision > revision) break
      if (change.entry === undefined) state.delete(change.key)
      else state.set(change.key, change.entry)
    }
    return state
  }

  async list(): Promise<{ entries: Entry[]; revision: bigint }> {
    this.#maybeFail()
    this.#asked = true
    return { entries: [...this.at(this.revision).values()], revision: this.revision }
  }

  async revisionsAt(_prefix: string, revision: bigint): Promise<Map<string, bigint>> {
    this.#maybeFail()
    this.#check(revision)
    this.#asked = true
    return new Map([...this.at(revision)].map(([key, entry]) => [key, entry.revision]))
  }

  async *changes(_prefix: string, from: bigint, signal: AbortSignal): AsyncGenerator<Change[]> {
    signal.addEventListener('abort', () => this.#wake.resolve())
    for (let next = from; !signal.aborted;) {
      this.#maybeFail()
      this.#check(next - 1n)
      const changes = this.log.filter((change) => change.revision >= next).slice(0, 3)
      next = (changes.at(-1)?.revision ?? next - 1n) + 1n
      if (changes.length > 0) yield changes
      else await (this.#wake = Promise.withResolvers()).promise
    }
  }

  #check(revision: bigint): void {
    if (revision < this.compacted) throw new TopologyError('compacted', 'forgotten')
  }

  #maybeFail(): void {
    if (this.#random.next() < 0.15) throw new TopologyError('unavailable', 'cut')
  }
}

test('whatever breaks, the consumer ends with the state of the store', async () => {
  let gaps = 0
  for (let seed = 1; seed <= SEEDS; seed++) gaps += await followFrom(seed)
  expect(gaps).toBeGreaterThan(SEEDS / 10) // revisions skipped: the store did compact
})

/** Follows a random store to its end. How many of its changes were told as a difference only. */
async function followFrom(seed: number): Promise<number> {
  using time = FakeTime.install()
  const random = new Random(seed)
  const model = new Model(random)
  for (let i = 0; i < 5; i++) model.write()
  const from = random.next() < 0.5 ? {} : { from: 3n }
  const known = new Map<string, bigint>()
  if (from.from !== undefined) {
    for (const [key, entry] of model.at(from.from - 1n)) known.set(key, entry.revision)
  }
  const stop = new AbortController()
  let told = 0
  let last = 0n
  const following = (async () => {
    const options = { ...from, signal: stop.signal, log: nullLogger }
    for await (const events of watchLoop(model, '', options)) {
      for (const event of events) {
        told++
        expect(event.revision).toBeGreaterThanOrEqual(last)
        expect(event.previousRevision).toBe(known.get(event.key) as bigint)
        if (event.type === 'put') known.set(event.key, event.entry.revision)
        else known.delete(event.key)
      }
      const batch = events.map((event) => event.revision)
      last = batch.reduce((a, b) => (a > b ? a : b), last)
      if (random.next() < 0.3) await Promise.resolve()
    }
  })()
  for (let i = 0; i < WRITES; i++) {
    if (random.next() < 0.7) model.write()
    time.advance(random.next() < 0.3 ? 500 : 0)
    for (let turn = 0; turn < random.next() * 20; turn++) await Promise.resolve()
  }
  const expected = new Map(
    [...model.at(model.revision)].map(([key, { revision }]) => [key, revision]),
  )
  for (let turn = 0; turn < 2000 && !Bun.deepEquals(known, expected); turn++) {
    time.advance(100)
    await Promise.resolve()
  }
  expect({ seed, known }).toEqual({ seed, known: expected })
  stop.abort()
  await following
  return model.log.length - told
}
