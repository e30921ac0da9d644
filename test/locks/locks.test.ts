// Goal: each operation on a lock does what it says, on both stores.
// Method: several services on connections of their own, as several processes have them.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { nullLogger } from '../../shared/log/logger.ts'
import { LockError, type LockErrorCode } from '../../shared/locks/errors.ts'
import { WAITERS_MAX } from '../../shared/locks/limits.ts'
import type { LockHandle } from '../../shared/locks/lock-handle.ts'
import { LockService, type AcquireOptions } from '../../shared/locks/lock-service.ts'
import type { Topology } from '../../shared/topology/topology.ts'
import { failureOf } from '../support/failure.ts'
import { until } from '../support/until.ts'
import { connect, etcdMissing, startStore, STORES, type Store } from '../topology/stores.ts'

const missing = await etcdMissing()
const ID = 'shard/app/0-inf'
const WAITING = { wait: true, waitMs: 20_000 }

async function codeOf(promise: Promise<unknown>): Promise<LockErrorCode> {
  const error = await failureOf(promise)
  expect(error).toBeInstanceOf(LockError)
  return (error as LockError).code
}

describe.each([...STORES])('locks on %s', (kind) => {
  if (kind === 'etcd' && missing !== undefined) {
    test.skip(`no etcd here: ${missing}`, () => {})
    return
  }
  let store: Store
  let spec: string
  let topology: Topology
  let locks: LockService
  const open: AsyncDisposable[] = []
  let requests = 0

  beforeAll(async () => {
    store = await startStore(kind)
  }, 60_000)
  afterAll(async () => await store[Symbol.asyncDispose]())
  afterEach(async () => {
    for (const one of open.splice(0).toReversed()) await one[Symbol.asyncDispose]()
  })

  async function process(windowMs?: number): Promise<{ locks: LockService; topology: Topology }> {
    const own = await connect(spec)
    const options = windowMs === undefined ? {} : { requestWindowMs: windowMs }
    const service = new LockService(own, { log: nullLogger, ...options })
    open.push(own, service)
    return { locks: service, topology: own }
  }
  async function fresh(): Promise<void> {
    spec = store.newSpec()
    ;({ locks, topology } = await process())
  }
  const take = (client: string, options: Partial<AcquireOptions> = {}): Promise<LockHandle> =>
    locks.acquire(ID, { client, requestId: `${++requests}`, ...options })

  test('one holds it, another hears who, and how long to wait', async () => {
    await fresh()
    const a = await take('a', { metadata: { why: 'backup' } })
    const held = (await failureOf(take('b'))) as LockError
    expect([held.code, held.number]).toEqual(['LOCK_HELD', 101])
    expect(held.message).toContain('a')
    expect(held.backoff?.estimatedAvailabilityInMs).toBeGreaterThan(0)
    expect(await a.release()).toEqual({ released: true, waiterCount: 0 })
    expect(a.signal.aborted).toBe(true)
    expect(await a.release()).toEqual({ released: false, waiterCount: 0 })
    const b = await take('b')
    expect(b.token).toBeGreaterThan(a.token)
  })

  test('the first in line gets it next, and a higher priority comes first', async () => {
    await fresh()
    const a = await take('a')
    const order: string[] = []
    const positions: number[] = []
    const wait = async (client: string, options: Partial<AcquireOptions> = {}): Promise<void> => {
      const count = (await locks.info(ID))?.waiterCount ?? 0
      void take(client, { ...WAITING, ...options }).then(async (handle) => {
        order.push(client)
        await handle.release()
      })
      await until(async () => (await locks.info(ID))?.waiterCount === count + 1)
    }
    await wait('b')
    await wait('c', { onPosition: (position) => positions.push(position) })
    await wait('d', { priority: 10 })
    await wait('e')
    const waiters = (await locks.info(ID))?.waiters ?? []
    expect(waiters.map(({ client, position }) => `${client}${position}`)).toEqual([
      'd0',
      'b1',
      'c2',
      'e3',
    ])
    const { client, requestId } = waiters[3] as { client: string; requestId: string }
    await locks.reprioritise(ID, { client, requestId }, 20)
    expect((await a.release()).waiterCount).toBe(4)
    await until(() => order.length === 4)
    expect(order).toEqual(['e', 'd', 'b', 'c'])
    expect(positions.at(-1)).toBe(0)
    await until(async () => (await topology.list('locks/')).entries.every(isRecord))
  })

  test('asking again gives the same token while it is held, and never a second grant', async () => {
    await fresh()
    const first = await locks.acquire(ID, { client: 'a', requestId: 'r' })
    const other = await process()
    const again = await other.locks.acquire(ID, { client: 'a', requestId: 'r' })
    expect(again.token).toBe(first.token)
    await again.release()
    await until(() => first.signal.aborted)
    expect(await codeOf(locks.acquire(ID, { client: 'a', requestId: 'r' }))).toBe(
      'ALREADY_FINISHED',
    )
  })

  test('one that dies frees it, one that dies in line leaves the line', async () => {
    await fresh()
    const dying = await process()
    const holder = await dying.locks.acquire(ID, { client: 'a', requestId: 'r', ttlMs: 1000 })
    const inLine = dying.locks
      .acquire(ID, { client: 'b', requestId: 'r', ttlMs: 1000, ...WAITING })
      .catch(() => 'died')
    await until(async () => (await locks.info(ID))?.waiterCount === 1)
    const next = take('c', WAITING)
    await until(async () => (await locks.info(ID))?.waiterCount === 2)
    await dying.topology[Symbol.asyncDispose]() // keeps nothing alive any more
    expect(holder.signal.aborted).toBe(true)
    expect((await next).token).toBeGreaterThan(holder.token)
    expect(await inLine).toBe('died')
  }, 20_000)

  test('renewing keeps the token, and finds out when it is lost', async () => {
    await fresh()
    const a = await take('a', { ttlMs: 5000 })
    await a.renew()
    await a.renew({ ttlMs: 60_000 })
    const info = await locks.info(ID)
    expect([info?.token, info?.owner]).toEqual([a.token, 'a'])
    expect(info?.remainingMs).toBeGreaterThan(5000)
    expect(await codeOf(a.renew({ ttlMs: 1 }))).toBe('INVALID_TTL')
    expect(await codeOf(locks.forceRelease(ID, a.token + 1n, 'x'))).toBe('VERSION_MISMATCH')
    await locks.forceRelease(ID, a.token, 'it hangs')
    await until(() => a.signal.aborted)
    expect(await codeOf(a.renew())).toBe('LOCK_NOT_HELD')
    const b = await take('b')
    expect(await codeOf(a.renew())).toBe('NOT_LOCK_OWNER')
    await b.release()
    const again = await take('a')
    expect(await codeOf(a.renew())).toBe('VERSION_MISMATCH')
    await again.release()
  })

  test('leaving the line has one outcome, by signal, by time, or by another', async () => {
    await fresh()
    const a = await take('a')
    const abort = new AbortController()
    const reason = new Error('enough')
    const given = failureOf(take('b', { ...WAITING, signal: abort.signal }))
    const late = codeOf(take('c', { wait: true, waitMs: 1000 }))
    await until(async () => (await locks.info(ID))?.waiterCount === 2)
    abort.abort(reason)
    expect(await given).toBe(reason)
    expect(await late).toBe('TIMEOUT')
    const request = { client: 'd', requestId: 'd' }
    const outcome = codeOf(locks.acquire(ID, { ...request, ...WAITING }))
    await until(async () => (await locks.info(ID))?.waiterCount === 1)
    expect(await locks.cancelWait(ID, request)).toEqual({ kind: 'cancelled' })
    expect(await codeOf(locks.cancelWait(ID, { client: 'z', requestId: 'z' }))).toBe('NOT_WAITING')
    expect(await outcome).toBe('NOT_WAITING')
    await a.release()
    const { total, pending, cancelled: left, expired, failed } = locks.operations.stats
    expect([total, pending, left, expired, failed]).toEqual([4, 0, 1, 1, 1])
  }, 20_000)

  test('a line has an end', async () => {
    await fresh()
    const a = await take('a')
    const abort = new AbortController()
    const waiting = Array.from({ length: WAITERS_MAX }, (_, at) =>
      take(`w${at}`, { ...WAITING, signal: abort.signal }).catch(() => {}),
    )
    await until(async () => (await locks.info(ID))?.waiterCount === WAITERS_MAX, {
      deadlineMs: 30_000,
    })
    expect(await codeOf(take('late', WAITING))).toBe('WAIT_QUEUE_FULL')
    abort.abort(new Error('over'))
    await Promise.all(waiting)
    await a.release()
    await until(async () => (await topology.list('locks/')).entries.every(isRecord))
  }, 60_000)

  test('what is done under a lost lock is never called well', async () => {
    await fresh()
    const request = { client: 'a', requestId: 'w' }
    expect(await locks.withLock(ID, request, async ({ token }) => token > 0n)).toBe(true)
    expect(await locks.info(ID)).toBeUndefined()
    const lost = locks.withLock(ID, { client: 'a', requestId: 'v' }, async (handle) => {
      await locks.forceRelease(ID, handle.token, 'test')
      await until(() => handle.signal.aborted)
    })
    expect(await codeOf(lost)).toBe('LOCK_NOT_HELD')
    const own = locks.withLock(ID, { client: 'a', requestId: 'u' }, async () => {
      throw new Error('of the body')
    })
    expect((await failureOf(own)).message).toBe('of the body')
  })

  test('locks are listed by name at one revision, and filtered', async () => {
    await fresh()
    for (const id of ['b', 'a/1', 'a/2', 'ä%/..']) {
      await locks.acquire(id, { client: id === 'b' ? 'x' : 'y', requestId: id })
    }
    const waiting = locks.acquire('b', { client: 'z', requestId: 'z', ...WAITING }).catch(() => {})
    await until(async () => (await locks.info('b'))?.waiterCount === 1)
    const names = async (filter: Parameters<LockService['list']>[0]): Promise<string[]> => {
      const found: string[] = []
      for await (const { lockId } of locks.list(filter)) found.push(lockId)
      return found
    }
    expect((await names({})).toSorted()).toEqual(['a/1', 'a/2', 'b', 'ä%/..'])
    expect(await names({ prefix: 'a/' })).toEqual(['a/1', 'a/2'])
    expect(await names({ owner: 'x' })).toEqual(['b'])
    expect(await names({ contested: true })).toEqual(['b'])
    expect(await names({ expiringWithinMs: 1 })).toEqual([])
    expect((await locks.advice('b')).maxMs).toBeLessThanOrEqual(60_000)
    const request = { client: 'z', requestId: 'z' }
    expect(await locks.cancelWait('b', request)).toEqual({ kind: 'cancelled' })
    await locks[Symbol.asyncDispose]()
    await topology[Symbol.asyncDispose]()
    await waiting
  })

  test('what cannot be asked is refused before it is asked', async () => {
    await fresh()
    const asked: [Partial<AcquireOptions>, LockErrorCode][] = [
      [{ ttlMs: 10 }, 'INVALID_TTL'],
      [{ ttlMs: 1e9 }, 'INVALID_TTL'],
      [{ priority: 1.5 }, 'INVALID_ARGUMENT'],
      [{ wait: true, waitMs: 1 }, 'INVALID_ARGUMENT'],
      [{ client: 'a\nb' }, 'INVALID_ARGUMENT'],
      [{ requestId: 'x'.repeat(129) }, 'INVALID_ARGUMENT'],
      [{ metadata: { k: 'x'.repeat(257) } }, 'INVALID_ARGUMENT'],
    ]
    for (const [options, code] of asked) expect(await codeOf(take('a', options))).toBe(code)
  })

  test('a request is forgotten after its window', async () => {
    await fresh()
    const short = await process(1500)
    const handle = await short.locks.acquire(ID, { client: 'a', requestId: 'r' })
    await handle.release()
    await until(async () => (await topology.list('locks/')).entries.length === 0, {
      deadlineMs: 8000,
    })
    const again = await short.locks.acquire(ID, { client: 'a', requestId: 'r' })
    expect(again.token).toBeGreaterThan(handle.token)
  }, 60_000)
})

/** Requests that were granted are remembered; nothing else may stay. */
function isRecord({ key }: { key: string }): boolean {
  return /\/req\//.test(key)
}
