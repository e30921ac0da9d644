// Goal: no lock is ever held by two, tokens only grow, the line is a line, and nothing stays behind.
// Method: workers on connections of their own take, release, renew, cancel, lose and repeat under a
// seed; a watch writes down every revision, and the rules are checked at each of them. On etcd the
// leader of its three members is killed on the way.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { nullLogger } from '../../shared/log/logger.ts'
import { LockError } from '../../shared/locks/errors.ts'
import { lockKeys, lockOf } from '../../shared/locks/keys.ts'
import { LockService } from '../../shared/locks/lock-service.ts'
import { readSnapshot, type LockSnapshot } from '../../shared/locks/snapshot.ts'
import {
  TopologyError,
  type Entry,
  type Topology,
  type WatchEvent,
} from '../../shared/topology/topology.ts'
import type { EtcdCluster } from '../support/etcd.ts'
import { Random } from '../support/random.ts'
import { until } from '../support/until.ts'
import {
  connect,
  Consumer,
  etcdMissing,
  startedEtcd,
  startStore,
  STORES,
} from '../topology/stores.ts'

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const SECONDS = Number(process.env['LOCKS_SECONDS'] ?? 6)
const missing = await etcdMissing()
const IDS = ['one', 'two/Ä']
const WORKERS = 6

/** A resource that knows the greatest token it has seen: what comes late is refused. */
class Fenced {
  #token = 0n
  refused = 0
  writes = 0

  write(token: bigint): void {
    if (token < this.#token) this.refused++
    else this.writes++
    if (token > this.#token) this.#token = token
  }
}

/** Lets `count` turns of the event loop go by. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** Lets others come in between a look and the write that was decided by it. */
function withPauses(topology: Topology, random: Random): Topology {
  return new Proxy(topology, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      if (name !== 'transaction') return value.bind(target) as unknown
      return async (request: Parameters<Topology['transaction']>[0]) => {
        await turns(random.integer(20))
        return await target.transaction(request)
      }
    },
  })
}

class Worker {
  grants = 0
  replays = 0
  lost = 0
  readonly #topology: Topology
  readonly #locks: LockService
  readonly #random: Random
  readonly #name: string
  readonly #resources: ReadonlyMap<string, Fenced>
  #requests = 0

  constructor(
    topology: Topology,
    random: Random,
    options: { name: string; resources: ReadonlyMap<string, Fenced> },
  ) {
    this.#topology = topology
    this.#locks = new LockService(withPauses(topology, random), { log: nullLogger })
    this.#random = random
    this.#name = options.name
    this.#resources = options.resources
  }

  /** Until `stop`; what the rules allow to fail may fail. */
  async run(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      try {
        await this.#once(stop)
      } catch (error) {
        const known = error instanceof LockError || error instanceof TopologyError
        if (!known && error !== GIVEN_UP && !stop.aborted) throw error
      }
    }
    await this.#locks[Symbol.asyncDispose]()
  }

  async #once(stop: AbortSignal): Promise<void> {
    const random = this.#random
    const id = random.pick(IDS)
    const requestId = `${++this.#requests}`
    const giveUp = new AbortController()
    const signal = AbortSignal.any([giveUp.signal, stop])
    const request = {
      client: this.#name,
      requestId,
      ttlMs: 1000,
      wait: random.chance(0.8),
      waitMs: 1000 + random.integer(4000),
      priority: random.integer(3) - 1,
      signal,
    }
    if (random.chance(0.1)) void turns(random.integer(200)).then(() => giveUp.abort(GIVEN_UP))
    await using handle = await this.#locks.acquire(id, request)
    this.grants++
    this.#resources.get(id)?.write(handle.token)
    if (random.chance(0.2)) await handle.renew(random.chance(0.5) ? { ttlMs: 2000 } : {})
    if (random.chance(0.1)) {
      const again = await this.#locks.acquire(id, request)
      expect(again.token).toBe(handle.token)
      this.replays++
      await again.release()
    }
    if (random.chance(0.1)) {
      const entry = await this.#topology.get(lockKeys(id).holder)
      if (entry?.createRevision === handle.token && entry.lease !== undefined) {
        await this.#locks.forceRelease(id, handle.token, 'test').catch(() => {})
        this.lost++
      }
    }
    await turns(random.integer(40))
    await handle.release()
    const { code } = (await this.#locks
      .acquire(id, request)
      .catch((error: unknown) => error)) as LockError
    if (!stop.aborted) expect(code ?? 'ALREADY_FINISHED').toBe('ALREADY_FINISHED')
  }
}

const GIVEN_UP = new Error('given up')

/** The rules, at every revision of what a watch told. */
function check(events: readonly WatchEvent[]): { grants: number; revisions: number } {
  const entries = new Map<string, Entry>()
  const tokens = new Set<bigint>()
  const newest = new Map<string, bigint>()
  const revisions = Map.groupBy(events, ({ revision }) => revision)
  let last = 0n
  for (const [revision, changes] of revisions) {
    expect(revision).toBeGreaterThan(last)
    last = revision
    const ids = new Set(changes.map(({ key }) => lockOf(key) as string))
    const before = new Map([...ids].map((id) => [id, snapshotOf(id, entries, revision)]))
    for (const event of changes) {
      if (event.type === 'put') entries.set(event.key, event.entry)
      else entries.delete(event.key)
    }
    for (const id of ids) {
      const was = before.get(id) as LockSnapshot
      const is = snapshotOf(id, entries, revision)
      const tickets = new Set(is.waiters.map(({ ticket }) => ticket))
      expect(tickets.size).toBe(is.waiters.length)
      if (was.holder !== undefined && was.holder.token === is.holder?.token) {
        expect(is.holder.requestId).toBe(was.holder.requestId)
        expect(is.holder.client).toBe(was.holder.client)
      }
      if (is.holder === undefined || is.holder.token !== revision) continue
      // Somebody got it just now: nobody had it, and it was the turn of who got it.
      expect(was.holder).toBeUndefined()
      expect(tokens.has(revision)).toBe(false)
      tokens.add(revision)
      expect(revision).toBeGreaterThan(newest.get(id) ?? 0n)
      newest.set(id, revision)
      const next = was.waiters[0]
      if (next !== undefined) {
        expect([is.holder.client, is.holder.requestId]).toEqual([next.client, next.requestId])
      }
    }
  }
  return { grants: tokens.size, revisions: revisions.size }
}

function snapshotOf(id: string, entries: ReadonlyMap<string, Entry>, revision: bigint) {
  const keys = lockKeys(id)
  const own = [...entries.values()]
    .filter(({ key }) => key.startsWith(keys.prefix))
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
  return readSnapshot(keys, { entries: own, revision })
}

async function run(spec: string, onHalf: () => Promise<void>): Promise<void> {
  const stop = new AbortController()
  const resources = new Map(IDS.map((id) => [id, new Fenced()]))
  const observer = await connect(spec)
  const consumer = new Consumer(observer, 'locks/')
  const topologies = await Promise.all(Array.from({ length: WORKERS }, () => connect(spec)))
  const workers = topologies.map(
    (topology, at) => new Worker(topology, new Random(SEED + at), { name: `w${at}`, resources }),
  )
  const running = workers.map((worker) => worker.run(stop.signal))
  const half = performance.now() + SECONDS * 500
  await until(() => performance.now() > half, { deadlineMs: SECONDS * 1000 })
  await onHalf()
  await until(() => performance.now() > half + SECONDS * 500, { deadlineMs: SECONDS * 2000 })
  stop.abort(new Error('over'))
  await Promise.all(running)
  // A count of a line whose last waiter died stays until the lock is used again.
  const isRecord = ({ key }: Entry): boolean => key.includes('/req/') || key.endsWith('/queue')
  await until(async () => (await observer.list('locks/')).entries.every(isRecord), {
    deadlineMs: 20_000,
  })
  await consumer.stop()
  const { grants, revisions } = check(consumer.events)
  const sum = (of: (worker: Worker) => number): number =>
    workers.reduce((all, worker) => all + of(worker), 0)
  const told = sum((worker) => worker.grants)
  console.log(
    `seed ${SEED}: ${grants} grants in ${revisions} revisions, ` +
      `${sum((worker) => worker.replays)} replays, ${sum((worker) => worker.lost)} taken away`,
  )
  expect(told).toBeGreaterThan(10)
  expect(grants).toBeGreaterThanOrEqual(told)
  for (const { refused, writes } of resources.values()) {
    expect(refused).toBe(0) // each wrote while it held: none was late
    expect(writes).toBeGreaterThan(0)
  }
  for (const topology of [...topologies, observer]) await topology[Symbol.asyncDispose]()
}

describe.each([...STORES])('locks under load on %s', (kind) => {
  if (kind === 'etcd' && missing !== undefined) {
    test.skip(`no etcd here: ${missing}`, () => {})
    return
  }
  let etcd: EtcdCluster | undefined
  let spec: string
  let store: AsyncDisposable

  beforeAll(async () => {
    if (kind === 'etcd') {
      store = etcd = await startedEtcd({ members: 3 })
      spec = etcd.spec('locks')
    } else {
      const files = await startStore(kind)
      store = files
      spec = files.newSpec()
    }
  }, 60_000)
  afterAll(async () => await store[Symbol.asyncDispose]())

  test(
    `at every revision the rules hold (SEED=${SEED})`,
    async () => {
      await run(spec, async () => await killLeader(etcd))
    },
    SECONDS * 1000 + 60_000,
  )
})

/** SIGKILL to the member that leads. */
async function killLeader(etcd: EtcdCluster | undefined): Promise<void> {
  for (const member of etcd?.members ?? []) {
    const url = `http://${member.address}/v3/maintenance/status`
    const response = await fetch(url, { method: 'POST', body: '{}' })
    const { leader, header } = (await response.json()) as {
      leader: string
      header: { member_id: string }
    }
    if (leader === header.member_id) return await member.kill()
  }
}
