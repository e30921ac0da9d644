// Goal: both stores keep every promise of the Topology interface alike.
// Method: one suite, run against the embedded file and against a real etcd of three members; each
// test has a topology of its own and at least two connections where it is about what others see.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { TRANSACTION_OPS_MAX, VALUE_BYTES_MAX } from '../../shared/topology/limits.ts'
import type { Topology, TopologyCondition } from '../../shared/topology/topology.ts'
import { until } from '../support/until.ts'
import { connect, Consumer, etcdMissing, startStore, STORES, type Store } from './stores.ts'

const missing = await etcdMissing()

// The shortest that the test etcd grants; the embedded store can do with less.
const TTL_MS = { embedded: 600, etcd: 1000 }

describe.each([...STORES])('%s', (kind) => {
  if (kind === 'etcd' && missing !== undefined) {
    test.skip(`no etcd here: ${missing}`, () => {})
    return
  }
  let store: Store
  let spec: string
  const open: Topology[] = []

  beforeAll(async () => {
    store = await startStore(kind)
  }, 60_000)
  afterAll(async () => await store[Symbol.asyncDispose]())
  afterEach(async () => {
    for (const topology of open.splice(0)) await topology[Symbol.asyncDispose]()
  })

  /** A connection to the topology of this test. */
  async function another(): Promise<Topology> {
    const topology = await connect(spec)
    open.push(topology)
    return topology
  }
  /** The first connection to a new topology. */
  async function fresh(): Promise<Topology> {
    spec = store.newSpec()
    return await another()
  }

  describe('keys', () => {
    test('a key nobody wrote is absent', async () => {
      expect(await (await fresh()).get('a')).toBeUndefined()
    })

    test('what one connection creates the other reads', async () => {
      const a = await fresh()
      const b = await another()
      const created = await a.create('dir/key', 'värde "1"\n')
      expect(created.revision).toBe(created.createRevision)
      expect(created.value).toBe('värde "1"\n')
      expect(await b.get('dir/key')).toEqual(created)
    })

    test('a key is created once', async () => {
      const a = await fresh()
      await a.create('a', '1')
      expect(await conditionOf(a.create('a', '2'))).toBe('exists')
      expect((await a.get('a'))?.value).toBe('1')
    })

    test('a put keeps the create revision, and a delete ends it', async () => {
      const a = await fresh()
      const first = await a.put('a', '1')
      const second = await a.put('a', '2')
      expect(second.createRevision).toBe(first.revision)
      expect(second.revision).toBe(first.revision + 1n)
      expect(await a.delete('a')).toBe(true)
      expect(await a.delete('a')).toBe(false)
      const third = await a.create('a', '3')
      expect(third.createRevision).toBe(first.revision + 3n)
    })

    test('a put with a revision writes only over that one', async () => {
      const a = await fresh()
      expect(await conditionOf(a.put('a', '1', { revision: 7n }))).toBe('conflict')
      const first = await a.put('a', '1', { revision: 0n })
      expect(await conditionOf(a.put('a', '2', { revision: 0n }))).toBe('conflict')
      const second = await a.put('a', '2', { revision: first.revision })
      expect(await conditionOf(a.put('a', '3', { revision: first.revision }))).toBe('conflict')
      expect(await a.get('a')).toEqual(second)
    })

    test('a delete with a revision deletes only that one', async () => {
      const a = await fresh()
      const first = await a.put('a', '1')
      const second = await a.put('a', '2')
      expect(await conditionOf(a.delete('a', { revision: first.revision }))).toBe('conflict')
      expect(await a.delete('a', { revision: second.revision })).toBe(true)
      expect(await conditionOf(a.delete('a', { revision: second.revision }))).toBe('conflict')
    })

    test('a list has the keys of its prefix, by key, and the present revision', async () => {
      const a = await fresh()
      for (const key of ['b/2', 'b', 'b.', 'b/', 'b0', 'b/1/x', 'a', 'c']) await a.put(key, key)
      const { entries, revision } = await a.list('b/')
      expect(entries.map((entry) => entry.key)).toEqual(['b/', 'b/1/x', 'b/2'])
      expect(revision).toBe((await a.get('c'))?.revision ?? 0n)
      expect((await a.list('')).entries).toHaveLength(8)
      expect((await a.list('nothing/')).entries).toEqual([])
    })

    test('a list of more than a page is whole', async () => {
      const a = await fresh()
      const keys = Array.from({ length: 1100 }, (_, i) => `many/${String(i).padStart(5, '0')}`)
      for (let at = 0; at < keys.length; at += TRANSACTION_OPS_MAX) {
        const writes = keys.slice(at, at + TRANSACTION_OPS_MAX).map((put) => ({ put, value: '' }))
        await a.transaction({ compares: [], writes })
      }
      expect((await a.list('many/')).entries.map((entry) => entry.key)).toEqual(keys)
    })

    test('what breaks a limit is refused before it is sent', async () => {
      const a = await fresh()
      for (const bad of ['', 'a\nb', 'ä', 'x'.repeat(2000)]) {
        expect(await conditionOf(a.put(bad, ''))).toBe('invalid')
      }
      expect(await conditionOf(a.put('a', 'x'.repeat(VALUE_BYTES_MAX + 1)))).toBe('invalid')
      await a.put('a', 'x'.repeat(VALUE_BYTES_MAX))
      expect((await a.get('a'))?.value).toHaveLength(VALUE_BYTES_MAX)
      expect(await conditionOf(a.grantLease(1))).toBe('invalid')
    })

    test('a closed topology says so', async () => {
      const a = await fresh()
      await a.put('a', '1')
      await a[Symbol.asyncDispose]()
      expect(await conditionOf(a.get('a'))).toBe('closed')
      expect(await conditionOf(a.put('a', '2'))).toBe('closed')
    })
  })

  describe('transactions', () => {
    test('all writes have one revision', async () => {
      const a = await fresh()
      const gone = await a.put('gone', '')
      const done = await a.transaction({
        compares: [
          { key: 'gone', revision: gone.revision },
          { key: 'x', revision: 0n },
        ],
        writes: [{ put: 'x', value: '1' }, { put: 'y', value: '2' }, { delete: 'gone' }],
      })
      expect(done).toBe(true)
      const { entries, revision } = await a.list('')
      expect(entries.map((entry) => [entry.key, entry.value, entry.revision])).toEqual([
        ['x', '1', gone.revision + 1n],
        ['y', '2', gone.revision + 1n],
      ])
      expect(revision).toBe(gone.revision + 1n)
    })

    test('a compare that fails writes nothing', async () => {
      const a = await fresh()
      const x = await a.put('x', '1')
      const compares = [
        { key: 'y', revision: 0n },
        { key: 'x', revision: x.revision - 1n },
      ]
      const writes = [{ put: 'y', value: '' }, { delete: 'x' }]
      expect(await a.transaction({ compares, writes })).toBe(false)
      expect((await a.list('')).entries).toEqual([x])
    })

    test('one that changes nothing takes no revision', async () => {
      const a = await fresh()
      const x = await a.put('x', '1')
      expect(await a.transaction({ compares: [], writes: [{ delete: 'absent' }] })).toBe(true)
      expect(await a.transaction({ compares: [], writes: [] })).toBe(true)
      expect((await a.list('')).revision).toBe(x.revision)
    })

    test('a key is written once in each, by at most so many operations', async () => {
      const a = await fresh()
      const twice = [{ put: 'x', value: '1' }, { delete: 'x' }]
      expect(await conditionOf(a.transaction({ compares: [], writes: twice }))).toBe('invalid')
      const puts = Array.from({ length: TRANSACTION_OPS_MAX + 1 }, (_, i) => ({
        put: `k${i}`,
        value: '',
      }))
      expect(await conditionOf(a.transaction({ compares: [], writes: puts }))).toBe('invalid')
      expect(await a.transaction({ compares: [], writes: puts.slice(1) })).toBe(true)
    })

    test('a counter that many compare and set loses no step', async () => {
      const a = await fresh()
      await a.create('counter', '0')
      const steps = 15
      const connections = await Promise.all(Array.from({ length: 4 }, another))
      const lost = await Promise.all(
        connections.map(async (topology) => {
          let conflicts = 0
          for (let step = 0; step < steps;) {
            const { value, revision } = (await topology.get('counter')) ?? {
              value: '',
              revision: 0n,
            }
            const outcome = await conditionOf(
              topology.put('counter', String(Number(value) + 1), { revision }),
            )
            if (outcome === 'conflict') conflicts++
            else step++
          }
          return conflicts
        }),
      )
      expect((await a.get('counter'))?.value).toBe(String(steps * connections.length))
      expect(lost).toHaveLength(connections.length)
    })
  })

  describe('leases', () => {
    test('a lease outlives its ttl as long as its owner lives, and dies after it', async () => {
      const owner = await fresh()
      const other = await another()
      await using seen = new Consumer(other, '')
      const lease = await owner.grantLease(TTL_MS[kind])
      const entry = await owner.create('a', '1', { lease })
      expect(entry.lease).toBe(lease.id)
      const end = performance.now() + lease.ttlMs * 1.5
      await until(() => performance.now() > end, { deadlineMs: lease.ttlMs * 3 })
      expect(await other.get('a')).toEqual(entry)
      expect(lease.lost.aborted).toBe(false)

      await owner[Symbol.asyncDispose]() // as a crash: it just stops keeping its leases
      expect(lease.lost.aborted).toBe(true)
      await until(() => seen.lines.at(-1) === 'delete a')
      expect(await other.get('a')).toBeUndefined()
    }, 60_000)

    test('anybody can ask how long a lease lives on', async () => {
      const a = await fresh()
      const b = await another()
      const lease = await a.grantLease(60_000)
      const remainingMs = await b.leaseRemainingMs({ id: lease.id })
      expect(remainingMs).toBeGreaterThan(50_000)
      expect(remainingMs).toBeLessThanOrEqual(lease.ttlMs)
      await lease.revoke()
      expect(await b.leaseRemainingMs(lease)).toBeUndefined()
    })

    test('revoking a lease deletes its keys at once, in one revision', async () => {
      const a = await fresh()
      const b = await another()
      const lease = await a.grantLease(60_000)
      await a.create('a', '1', { lease })
      await a.create('b', '1', { lease })
      const free = await a.create('c', '1')
      await using seen = new Consumer(b, '', free.revision + 1n)
      await lease.revoke()
      expect((await b.list('')).entries).toEqual([free])
      await until(() => seen.events.length === 2)
      expect(seen.lines.toSorted()).toEqual(['delete a', 'delete b'])
      expect(new Set(seen.events.map((event) => event.revision)).size).toBe(1)
      expect(lease.lost.aborted).toBe(false)
      await lease.revoke() // again: nothing left to do
    })

    test('a key written again without the lease, or under another, outlives it', async () => {
      const a = await fresh()
      const first = await a.grantLease(60_000)
      const second = await a.grantLease(60_000)
      for (const key of ['kept', 'moved']) await a.put(key, '1', { lease: first })
      await a.put('kept', '2')
      await a.put('moved', '2', { lease: second })
      await first.revoke()
      expect((await a.list('')).entries.map((entry) => entry.key)).toEqual(['kept', 'moved'])
      await second.revoke()
      expect((await a.list('')).entries.map((entry) => entry.key)).toEqual(['kept'])
    })

    test('a write under a lease that is gone fails as a whole', async () => {
      const a = await fresh()
      const lease = await a.grantLease(60_000)
      await lease.revoke()
      expect(await conditionOf(a.create('a', '1', { lease }))).toBe('lease_lost')
      const writes = [
        { put: 'b', value: '' },
        { put: 'a', value: '', lease },
      ]
      expect(await conditionOf(a.transaction({ compares: [], writes }))).toBe('lease_lost')
      expect((await a.list('')).entries).toEqual([])
    })

    test('the owner of a lease that another ended learns that it is lost', async () => {
      const a = await fresh()
      const lease = await a.grantLease(TTL_MS[kind])
      await store.revoke(spec, lease.id)
      await until(() => lease.lost.aborted)
      expect(lease.lost.reason.condition).toBe('lease_lost')
    })
  })

  describe('watches', () => {
    test('without a revision the first batch is the present state', async () => {
      const a = await fresh()
      await using empty = new Consumer(a, 'p/')
      await until(() => empty.batches.length === 1)
      expect(empty.batches).toEqual([[]])
      const x = await a.put('p/x', '1')
      await a.put('q', 'another prefix')
      const y = await a.put('p/y', '2')
      await using full = new Consumer(await another(), 'p/')
      await until(() => full.batches.length === 1)
      expect(full.batches[0]).toEqual([
        { type: 'put', key: 'p/x', revision: x.revision, entry: x },
        { type: 'put', key: 'p/y', revision: y.revision, entry: y },
      ])
      await until(() => empty.lines.join() === 'put p/x=1,put p/y=2')
    })

    test('changes come in order, with the revision before', async () => {
      const a = await fresh()
      const b = await another()
      await using seen = new Consumer(b, 'p/')
      const first = await a.put('p/x', '1')
      const second = await a.put('p/x', '2')
      await a.delete('p/x')
      const last = await a.create('p/x', '3')
      await until(() => seen.lines.at(-1) === 'put p/x=3')
      expect(seen.lines).toEqual(['put p/x=1', 'put p/x=2', 'delete p/x', 'put p/x=3'])
      expect(seen.events.map((event) => [event.revision, event.previousRevision])).toEqual([
        [first.revision, undefined],
        [second.revision, first.revision],
        [second.revision + 1n, second.revision],
        [last.revision, undefined],
      ])
    })

    test('from a revision the past is replayed, then the present goes on', async () => {
      const a = await fresh()
      const x = await a.put('p/x', '1')
      const y = await a.put('p/y', '2')
      await a.delete('p/x')
      await a.put('p/y', '3')
      await using all = new Consumer(a, 'p/', x.revision)
      await using some = new Consumer(await another(), 'p/', y.revision + 1n)
      const { revision } = await a.list('')
      await using coming = new Consumer(a, 'p/', revision + 1n)
      await a.put('p/z', '4')
      await until(() => [all, some, coming].every((seen) => seen.lines.at(-1) === 'put p/z=4'))
      const since = ['delete p/x', 'put p/y=3', 'put p/z=4']
      expect(all.lines).toEqual(['put p/x=1', 'put p/y=2', ...since])
      expect(some.lines).toEqual(since)
      expect(some.events.map((event) => event.previousRevision)).toEqual([
        x.revision,
        y.revision,
        undefined,
      ])
      expect(coming.lines).toEqual(['put p/z=4'])
    })

    test('the events of a transaction come in one batch', async () => {
      const a = await fresh()
      await using seen = new Consumer(await another(), '')
      await until(() => seen.batches.length === 1)
      const writes = Array.from({ length: 100 }, (_, i) => ({ put: `k${100 + i}`, value: 'x' }))
      await a.transaction({ compares: [], writes })
      await until(() => seen.events.length === 100)
      expect(seen.batches).toHaveLength(2)
    })

    test('a consumer that takes its time misses nothing', async () => {
      const a = await fresh()
      const stop = new AbortController()
      const watch = (await another()).watch('', { signal: stop.signal })[Symbol.asyncIterator]()
      expect((await watch.next()).value).toEqual([])
      const count = 700
      for (let i = 0; i < count; i++) await a.put('counter', String(i))
      const values: number[] = []
      while (values.length < count) {
        const { value: batch = [] } = await watch.next()
        for (const event of batch) values.push(Number(event.entry?.value))
      }
      expect(values).toEqual(Array.from({ length: count }, (_, i) => i))
      stop.abort()
      expect((await watch.next()).done).toBe(true)
    }, 60_000)

    test('a watch ends quietly by its signal, and with its topology', async () => {
      const a = await fresh()
      const b = await another()
      const stopped = new Consumer(a, '')
      const closed = new Consumer(b, '')
      await until(() => stopped.batches.length === 1 && closed.batches.length === 1)
      await stopped.stop()
      await b[Symbol.asyncDispose]()
      await until(() => closed.ended)
      expect([stopped.failure, closed.failure]).toEqual([undefined, undefined])
    })

    test('from the first revision on, a watch tells everything', async () => {
      const a = await fresh()
      await a.put('x', '1')
      await a.put('x', '2')
      await using seen = new Consumer(a, '', 1n)
      await until(() => seen.lines.at(-1) === 'put x=2')
      expect(seen.lines).toEqual(['put x=1', 'put x=2'])
    })

    test('a watch from a revision that is not yet is refused', async () => {
      const a = await fresh()
      const { revision } = await a.put('x', '')
      await using late = new Consumer(a, '', revision + 100n)
      await until(() => late.ended)
      expect(late.failure).toHaveProperty('condition', 'compacted')
    })
  })
})

/** The condition that the operation fails with; undefined when it does not. */
async function conditionOf(operation: Promise<unknown>): Promise<TopologyCondition | undefined> {
  try {
    await operation
    return undefined
  } catch (error) {
    return (error as { condition?: TopologyCondition }).condition
  }
}
