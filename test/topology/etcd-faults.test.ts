// Goal: whatever happens to etcd, a watch misses no put and no delete, a write is never repeated
// behind the caller's back, and a lease is called lost before it can be.
// Method: real etcd servers, killed, frozen, cut off by a proxy and compacted meanwhile.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { connectTopology, type Topology } from '../../shared/topology/topology.ts'
import type { EtcdCluster } from '../support/etcd.ts'
import { pause } from '../support/pace.ts'
import { until } from '../support/until.ts'
import { CutProxy } from './cut-proxy.ts'
import { connect, Consumer, etcdMissing, Messages, startedEtcd } from './stores.ts'

const missing = await etcdMissing()
const OUTAGE_MS = 15_000

if (missing !== undefined) test.skip(`no etcd here: ${missing}`, () => {})
else {
  describe('one member behind a wire', oneMember)
  describe('three members', threeMembers)
}

function oneMember(): void {
  let etcd: EtcdCluster
  let wire: CutProxy
  beforeAll(async () => {
    etcd = await startedEtcd({ members: 1 })
    wire = await CutProxy.to(Number(etcd.members[0]?.address.split(':')[1]))
  }, 60_000)
  afterAll(async () => {
    await wire[Symbol.asyncDispose]()
    await etcd[Symbol.asyncDispose]()
  })

  test('a watch that was cut off while etcd was compacted tells put and delete', async () => {
    const root = 'compacted'
    await using direct = await connect(etcd.spec(root))
    for (const key of ['kept', 'gone', 'changed', 'again']) await direct.put(`p/${key}`, '1')
    const { said, log } = new Messages()
    await using far = await connectTopology(`etcd://${wire.address}/${root}`, { log })
    await using seen = new Consumer(far, 'p/')
    await until(() => seen.state.size === 4)

    await wire.cut()
    await direct.delete('p/gone')
    await direct.put('p/changed', '2')
    await direct.put('p/new', '2')
    await direct.delete('p/again')
    await direct.create('p/again', '2')
    await etcd.compact()
    await direct.put('elsewhere', 'so that the compacted revision is behind us')
    const before = seen.events.length
    await wire.restore()
    await until(() => seen.state.get('p/new') === '2', OUTAGE_MS)
    expect(said.join()).toContain('"condition":"compacted"')
    expect(seen.lines.slice(before).toSorted()).toEqual([
      'delete p/gone',
      'put p/again=2',
      'put p/changed=2',
      'put p/new=2',
    ])

    const { revision } = await direct.put('p/kept', '3')
    await until(() => seen.lines.at(-1) === 'put p/kept=3') // and it lives on
    expect(seen.events.at(-1)?.revision).toBe(revision)
  }, 30_000)

  test('a watch that was cut off with its history kept replays it', async () => {
    const root = 'replayed'
    await using direct = await connect(etcd.spec(root))
    await direct.put('p/x', '1')
    await using far = await connect(`etcd://${wire.address}/${root}`)
    await using seen = new Consumer(far, 'p/')
    await until(() => seen.state.size === 1)
    await wire.cut()
    await direct.put('p/x', '2')
    await direct.delete('p/x')
    await direct.put('p/x', '3')
    await wire.restore()
    await until(() => seen.state.get('p/x') === '3', OUTAGE_MS)
    expect(seen.lines).toEqual(['put p/x=1', 'put p/x=2', 'delete p/x', 'put p/x=3'])
  }, 30_000)

  test('a connection that swallows everything is given up for a new one', async () => {
    const root = 'muted'
    await using direct = await connect(etcd.spec(root))
    await using far = await connect(`etcd://${wire.address}/${root}`)
    await using seen = new Consumer(far, 'p/')
    await until(() => seen.batches.length === 1)
    wire.mute() // no reset ever reaches the watch
    await direct.put('p/x', '1')
    await until(() => seen.state.get('p/x') === '1', OUTAGE_MS)
  }, 30_000)

  test('a lease is lost by our own clock while etcd is silent', async () => {
    await using far = await connect(`etcd://${wire.address}/lost`)
    const lease = await far.grantLease(1000)
    const lost = new Promise((resolve) => {
      lease.lost.addEventListener('abort', () => resolve('lost'))
    })
    etcd.members[0]?.pause()
    // A timer of the same loop: however late that is, it comes to what is due earlier first.
    const late = pause(lease.ttlMs + 50).then(() => 'too late')
    const came = await Promise.race([lost, late])
    etcd.members[0]?.resume()
    expect(came).toBe('lost')
  }, 60_000)

  test('an etcd that is down fails operations in bounded time, and works when it is back', async () => {
    await using topology = await connect(`etcd://${wire.address}/down`)
    await topology.put('x', '1')
    await wire.cut()
    const beganAtMs = performance.now()
    const failures = await Promise.all([
      failure(topology.get('x')),
      failure(topology.put('x', '2')),
      failure(topology.grantLease(1000)),
    ])
    expect(failures).toEqual(['unavailable', 'unavailable', 'unavailable'])
    expect(performance.now() - beganAtMs).toBeLessThan(10_000)
    await wire.restore()
    await until(async () => (await topology.get('x')) !== undefined, OUTAGE_MS)
    await until(async () => (await topology.put('x', '3')) !== undefined, OUTAGE_MS)
  }, 40_000)
}

function threeMembers(): void {
  let etcd: EtcdCluster
  beforeAll(async () => {
    etcd = await startedEtcd({ members: 3 })
  }, 60_000)
  afterAll(async () => await etcd[Symbol.asyncDispose]())

  test('a member that dies, freezes or comes back costs no write and no event', async () => {
    await using writer = await connect(etcd.spec('members'))
    await using seen = new Consumer(await connect(etcd.spec('members')), '')
    await until(() => seen.batches.length > 0) // what is there when the watch begins is no event
    const count = new Counter(writer)
    for (const member of etcd.members) {
      const { acknowledged } = count
      await member.kill()
      await until(() => count.acknowledged > acknowledged + 20, OUTAGE_MS)
      member.start()
      await until(() => member.healthy(), OUTAGE_MS)
    }
    const frozen = etcd.members[0]
    const { acknowledged } = count
    frozen?.pause()
    await until(() => count.acknowledged > acknowledged + 20, OUTAGE_MS)
    frozen?.resume()
    const last = await count.stop()
    await until(() => seen.lines.at(-1) === `put counter=${last}`, OUTAGE_MS)

    // Each value is its predecessor plus one: no write was repeated, none lost that was acknowledged.
    const values = seen.events.map((event) => Number(event.entry?.value))
    expect(values).toEqual(Array.from({ length: last + 1 }, (_, i) => i))
    expect(last).toBeGreaterThanOrEqual(count.acknowledged)
  }, 60_000)

  test('all members down and back: reads, writes and watches go on', async () => {
    await using topology = await connect(etcd.spec('all'))
    await using seen = new Consumer(topology, '')
    await topology.put('x', '1')
    await until(() => seen.state.get('x') === '1')
    await etcd.kill()
    expect(await failure(topology.get('x'))).toBe('unavailable')
    await etcd.start()
    await until(async () => (await topology.put('x', '2')) !== undefined, OUTAGE_MS)
    await until(() => seen.state.get('x') === '2', OUTAGE_MS)
    expect((await topology.get('x'))?.value).toBe('2')
  }, 60_000)
}

/** Counts up in the key `counter` by compare-and-set, as a careful caller would, until stopped. */
class Counter {
  acknowledged = 0
  readonly #topology: Topology
  readonly #done: Promise<number>
  #stopping = false

  constructor(topology: Topology) {
    this.#topology = topology
    this.#done = this.#run()
  }

  /** The last value. Its write was acknowledged: no earlier one can come behind it. */
  async stop(): Promise<number> {
    this.#stopping = true
    return await this.#done
  }

  async #run(): Promise<number> {
    await this.#topology.create('counter', '0')
    for (;;) {
      const stopping = this.#stopping
      const value = await this.#countOne()
      if (stopping && value !== undefined) return value
    }
  }

  async #countOne(): Promise<number | undefined> {
    try {
      const entry = await this.#topology.get('counter')
      if (entry === undefined) throw new Error('the counter is gone')
      const value = Number(entry.value) + 1
      await this.#topology.put('counter', String(value), { revision: entry.revision })
      this.acknowledged++
      return value
    } catch {
      return undefined // unknown outcome: the next round reads what became of it
    }
  }
}

/** The condition that the operation fails with. */
async function failure(operation: Promise<unknown>): Promise<unknown> {
  return await operation.then(
    () => undefined,
    (error: { condition?: string }) => error.condition ?? error,
  )
}
