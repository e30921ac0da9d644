// All pools of one Postgres, under one budget of connections. Pure: time comes in through `tick`,
// connections are opened and closed by the owner.
//
// Invariants, checked by the model test:
// - At most `backendsMax` members exist at any time, opening and closing ones included, and at most
//   `poolSize` unpinned ones in a pool; a pin that ends above that closes its member.
// - A pool never has a free member and a waiter whom it suits at the same time. Waiters are served
//   in order; one whom no free member suits is passed over only while a member that is yet to open
//   is on its way for it, and a free one is closed where that needs its place.
// - A pool that could open a backend for a waiter does so; when only the budget stops it, idle
//   members of other pools make room, and when none is idle, the next one released by a pool that
//   has more and waits less.
import { assert } from '../../shared/errors/assert.ts'
import { MemberState, type CloseReason, type PoolMember } from './pool-member.ts'
import type { PoolWaiter } from './pool-waiter.ts'
import { Pool, poolId, type PoolKey } from './pool.ts'
import { enqueue, unlink } from './wait-queue.ts'

/** Bounds of the pools; read anew at each use, so that live settings take effect at once. */
export type PoolLimits = {
  /** Unpinned backends of one pool. */
  readonly poolSize: number
  /** Backends over all pools. */
  readonly backendsMax: number
  /** Pinned backends over all pools. */
  readonly pinnedMax: number
  readonly poolsMax: number
  /** Waiters of one pool. */
  readonly waitersMax: number
  readonly waitMs: number
  readonly lifetimeMs: number
  readonly idleMs: number
  /** Backends that a pool keeps beyond `idleMs`, while it was used in the last `warmMs`. */
  readonly warmSize: number
  readonly warmMs: number
}

/** What the pools need from their owner. */
export type PoolHost<M extends PoolMember<M>> = {
  /** Begins to connect; `opened`, `openFailed` or `removed` follows, never during this call. */
  open(pool: Pool<M>): M
  /** In [0, 1). */
  random(): number
}

/** Lifetimes end up to this part earlier, so that backends opened together do not end together. */
const LIFETIME_JITTER = 0.2
const RETRY_MS_MIN = 50
const RETRY_MS_MAX = 1000
/** Waiters looked at for one whom a free member suits. */
const PASSED_MAX = 16

/** The pools. `M` is the backend's class. */
export class PoolSet<M extends PoolMember<M>> {
  readonly pools = new Map<string, Pool<M>>()
  /** Members that exist, over all pools. */
  total = 0
  pinnedTotal = 0
  closingTotal = 0
  waitingTotal = 0
  readonly #host: PoolHost<M>
  readonly #limits: PoolLimits
  #nowMs: number
  #tickets = 0

  constructor(host: PoolHost<M>, limits: PoolLimits, nowMs: number) {
    this.#host = host
    this.#limits = limits
    this.#nowMs = nowMs
  }

  /** Whether a database has sessions, or backends for those that rest in their gateways. */
  uses(database: string): boolean {
    for (const { key, sessions, members } of this.pools.values()) {
      if (key.database === database && (sessions > 0 || members.size > 0)) return true
    }
    return false
  }

  /** The pool of `key`, made if need be; undefined when there are `poolsMax` in use already. */
  pool(key: PoolKey): Pool<M> | undefined {
    const id = poolId(key)
    let pool = this.pools.get(id)
    if (pool === undefined) {
      if (this.pools.size >= this.#limits.poolsMax && !this.#forgetOne()) return undefined
      pool = new Pool<M>(id, key, this.#nowMs)
      this.pools.set(id, pool)
    }
    return pool
  }

  /** A free backend at once, or undefined: then `waiter` waits, or was refused already. */
  acquire(pool: Pool<M>, waiter: PoolWaiter<M>): M | undefined {
    assert(waiter.waitsIn === undefined, 'a waiter waits once')
    pool.lastUsedMs = this.#nowMs
    if (pool.idle.length > 0 && !pool.serving) {
      const member = this.#take(pool, waiter)
      if (member !== undefined) return member
    }
    if (pool.waiting >= this.#limits.waitersMax) {
      waiter.refused('queue_full')
      return undefined
    }
    waiter.ticket = ++this.#tickets
    waiter.waitsSinceMs = this.#nowMs
    enqueue(pool, waiter)
    this.waitingTotal++
    this.#grow(pool)
    this.#replace(pool)
    return undefined
  }

  /** Stops waiting: the client canceled or left. */
  withdraw(waiter: PoolWaiter<M>): void {
    if (waiter.waitsIn === undefined) return
    unlink(waiter)
    this.waitingTotal--
  }

  /** `member` has connected. */
  opened(member: M): void {
    const { pool } = member
    assert(member.memberState === MemberState.Opening, 'only an opening member opens')
    pool.opening--
    pool.failures = 0
    pool.retryAtMs = 0
    pool.validated = true
    const life = this.#limits.lifetimeMs * (1 - LIFETIME_JITTER * this.#host.random())
    member.expiresAtMs = this.#nowMs + life
    this.#comeBack(member)
    if (pool.firstWaiter !== undefined) this.#grow(pool) // it was shut at once, or others failed
  }

  /**
   * `member` could not connect and is gone. When Postgres said a clear no (`final`) and the pool
   * has no other backend, nobody in it has anything to wait for.
   */
  openFailed(member: M, final: boolean): void {
    const { pool } = member
    if (pool.retryAtMs <= this.#nowMs) {
      // Once for all that failed together.
      pool.retryAtMs = this.#nowMs + Math.min(RETRY_MS_MIN * 2 ** pool.failures, RETRY_MS_MAX)
      pool.failures++
    }
    this.#forget(member)
    if (final && pool.live === 0) {
      pool.validated = false
      this.#refuseAll(pool)
    }
    this.#growAny()
  }

  /** Gives a member back: to the next in line, to the idle ones, or to its end. */
  release(member: M): void {
    assert(member.memberState === MemberState.Busy, 'only a busy member is released')
    member.pool.lastUsedMs = this.#nowMs
    if (member.pinned) this.#unpin(member)
    this.#comeBack(member)
  }

  /** Takes a busy member out of its pool's size, so that others can go on. False at the limit. */
  pin(member: M): boolean {
    assert(member.memberState === MemberState.Busy, 'only a busy member is pinned')
    if (member.pinned) return true
    if (this.pinnedTotal >= this.#limits.pinnedMax) return false
    member.pinned = true
    this.pinnedTotal++
    member.pool.pinned++
    member.pool.size--
    this.#grow(member.pool)
    return true
  }

  /** Closes `member` now if it is free, else when it comes back. */
  retire(member: M, reason: CloseReason = 'retired'): void {
    member.retired = true
    if (member.memberState !== MemberState.Idle) return
    const { idle } = member.pool
    idle.splice(idle.indexOf(member), 1)
    this.#shut(member, reason)
  }

  /** The owner closes `member` itself; it counts until `removed`. Nothing if it is closing. */
  closing(member: M): void {
    switch (member.memberState) {
      case MemberState.Closing:
      case MemberState.Gone:
        return
      case MemberState.Opening:
        member.pool.opening--
        break
      case MemberState.Idle:
        member.pool.idle.splice(member.pool.idle.indexOf(member), 1)
        break
      case MemberState.Busy:
        if (member.pinned) this.#unpin(member)
        break
    }
    member.memberState = MemberState.Closing
    member.pool.closing++
    this.closingTotal++
    if (member.pool.firstWaiter !== undefined) this.#grow(member.pool)
  }

  /** The connection of `member` is gone, in whatever state it was. */
  removed(member: M): void {
    this.#forget(member)
    this.#growAny()
  }

  /** Retires every member, of the databases that `concerns` names: they are not what they were. */
  retireAll(reason: CloseReason, concerns: (database: string) => boolean = () => true): void {
    for (const { key, members } of this.pools.values()) {
      if (concerns(key.database)) for (const member of members) this.retire(member, reason)
    }
  }

  /** Postgres is there again: no pool waits out its pause after failed connects. */
  retryNow(): void {
    for (const pool of this.pools.values()) pool.retryAtMs = 0
    this.#growAny()
  }

  /** Passes time: expires waiters and members, forgets unused pools, retries, keeps pools warm. */
  tick(nowMs: number): void {
    this.#nowMs = nowMs
    for (const pool of this.pools.values()) {
      this.#expireWaiters(pool)
      this.#expireMembers(pool)
      if (pool.firstWaiter !== undefined) this.#replace(pool)
      this.#warm(pool)
      if (pool.members.size === 0 && this.#unused(pool, this.#limits.idleMs)) {
        this.pools.delete(pool.id)
      }
    }
    this.#growAny()
  }

  /** A free member for `waiter`: one of its flavor, or another that suits it. */
  #take(pool: Pool<M>, waiter: PoolWaiter<M>): M | undefined {
    const { idle } = pool
    const wanted = waiter.wantedFlavor
    let at = idle.length - 1
    if (wanted === undefined || idle[at]?.flavor !== wanted) {
      const found =
        wanted === undefined ? -1 : idle.findLastIndex((member) => member.flavor === wanted)
      at = found >= 0 ? found : idle.findLastIndex((member) => waiter.suits(member))
      if (at < 0) return undefined
    }
    const member = (at === idle.length - 1 ? idle.pop() : idle.splice(at, 1)[0]) as M
    member.memberState = MemberState.Busy
    return member
  }

  #comeBack(member: M): void {
    const { pool } = member
    const reason = this.#endOf(member)
    if (reason !== undefined) return this.#shut(member, reason)
    member.memberState = MemberState.Idle
    member.idleSinceMs = this.#nowMs
    pool.idle.push(member)
    if (pool.serving) return
    if (pool.firstWaiter !== undefined) this.#serve(pool)
    if (pool.idle.length > 0 && this.total >= this.#limits.backendsMax) this.#makeRoom()
  }

  /** Why a member that comes back is closed instead; undefined when it stays. */
  #endOf(member: M): CloseReason | undefined {
    const { pool } = member
    if (member.retired) return 'retired'
    if (member.expiresAtMs <= this.#nowMs) return 'lifetime'
    if (pool.size > this.#limits.poolSize) return 'surplus'
    if (this.total > this.#limits.backendsMax) return 'evicted'
    const head = pool.firstWaiter
    if (head === undefined || this.total < this.#limits.backendsMax) return undefined
    const starved = this.#mostStarved()
    const yields =
      starved !== undefined &&
      starved !== pool &&
      this.closingTotal === 0 &&
      starved.size + 1 < pool.size &&
      (starved.firstWaiter?.ticket ?? 0) < head.ticket
    return yields ? 'evicted' : undefined
  }

  #serve(pool: Pool<M>): void {
    pool.serving = true
    try {
      this.#serveWaiters(pool)
    } finally {
      pool.serving = false // also when a session fails: the pool is everybody's
    }
  }

  #serveWaiters(pool: Pool<M>): void {
    let waiter = pool.firstWaiter
    let passed = 0
    while (waiter !== undefined && pool.idle.length > 0 && passed < PASSED_MAX) {
      const member = this.#take(pool, waiter)
      if (member === undefined) {
        passed++
        this.#replace(pool, passed)
        waiter = waiter.nextWaiter
      } else {
        this.withdraw(waiter)
        waiter.granted(member) // it may have come back by now, and others may have left
        passed = 0
        waiter = pool.firstWaiter
      }
    }
  }

  /**
   * Nobody free suits the first `unserved` waiters: closes free members until as many are on their
   * way for them. Where a pool has room it has begun to open them already.
   */
  #replace(pool: Pool<M>, unserved = pool.waiting): void {
    if (pool.retryAtMs > this.#nowMs) return // Postgres takes no new ones now
    while (
      pool.idle.length > 0 &&
      pool.size >= this.#limits.poolSize &&
      pool.opening + pool.closing < unserved
    ) {
      this.#shut(pool.idle.shift() as M, 'unsuitable')
    }
  }

  /** Wanted backends that only the budget may stop. */
  #wants(pool: Pool<M>): number {
    if (pool.waiting === 0 || pool.retryAtMs > this.#nowMs) return 0
    const most = Math.min(pool.waiting - pool.opening, this.#limits.poolSize - pool.size)
    return pool.failures === 0 ? most : Math.min(most, 1 - pool.opening) // one probe at a time
  }

  #grow(pool: Pool<M>): void {
    while (this.#wants(pool) > 0 && this.total < this.#limits.backendsMax) this.#open(pool)
    if (this.#wants(pool) > 0) this.#makeRoom()
  }

  /** Room was made, or time passed: who waits longest opens first. */
  #growAny(): void {
    while (this.total < this.#limits.backendsMax) {
      const pool = this.#mostStarved()
      if (pool === undefined) return
      this.#open(pool)
    }
    this.#makeRoom()
  }

  #mostStarved(): Pool<M> | undefined {
    if (this.waitingTotal === 0) return undefined
    let starved: Pool<M> | undefined
    for (const pool of this.pools.values()) {
      if (this.#wants(pool) <= 0) continue
      if (starved === undefined || ticketOf(pool) < ticketOf(starved)) starved = pool
    }
    return starved
  }

  /** Evicts the members that idled longest, as many as are wanted beyond those closing already. */
  #makeRoom(): void {
    if (this.waitingTotal === 0) return
    let wanted = -this.closingTotal
    for (const pool of this.pools.values()) wanted += Math.max(0, this.#wants(pool))
    for (; wanted > 0; wanted--) {
      let victim: M | undefined
      for (const pool of this.pools.values()) {
        const oldest = pool.idle[0]
        if (oldest === undefined) continue
        if (victim === undefined || oldest.idleSinceMs < victim.idleSinceMs) victim = oldest
      }
      if (victim === undefined) return
      victim.pool.idle.shift()
      this.#shut(victim, 'evicted')
    }
  }

  #open(pool: Pool<M>): void {
    const member = this.#host.open(pool)
    pool.members.add(member)
    pool.opening++
    pool.size++
    this.total++
  }

  #shut(member: M, reason: CloseReason): void {
    member.memberState = MemberState.Closing
    member.pool.closing++
    this.closingTotal++
    member.shut(reason)
  }

  #unpin(member: M): void {
    member.pinned = false
    this.pinnedTotal--
    member.pool.pinned--
    member.pool.size++
  }

  #forget(member: M): void {
    this.closing(member)
    assert(member.memberState === MemberState.Closing, 'a member goes once')
    const { pool } = member
    member.memberState = MemberState.Gone
    pool.closing--
    this.closingTotal--
    pool.size--
    pool.members.delete(member)
    this.total--
  }

  #refuseAll(pool: Pool<M>): void {
    for (let waiter = pool.firstWaiter; waiter !== undefined; waiter = pool.firstWaiter) {
      this.withdraw(waiter)
      waiter.refused('cannot_connect')
    }
  }

  #expireWaiters(pool: Pool<M>): void {
    const since = this.#nowMs - this.#limits.waitMs
    for (let waiter = pool.firstWaiter; waiter !== undefined; waiter = pool.firstWaiter) {
      if (waiter.waitsSinceMs > since) return
      this.withdraw(waiter)
      waiter.refused('timeout')
    }
  }

  #expireMembers(pool: Pool<M>): void {
    const { idle } = pool
    for (let at = 0; at < idle.length;) {
      const member = idle[at] as M
      const reason = this.#expiry(member)
      if (reason === undefined) {
        at++
      } else {
        idle.splice(at, 1)
        this.#shut(member, reason)
      }
    }
  }

  /** Why an idle member is closed; undefined when it may stay. */
  #expiry(member: M): CloseReason | undefined {
    const { pool } = member
    const limits = this.#limits
    const kept = pool.size - pool.closing
    if (member.expiresAtMs <= this.#nowMs) return 'lifetime'
    if (kept > limits.poolSize) return 'surplus'
    if (this.total - this.closingTotal > limits.backendsMax) return 'surplus'
    if (this.#nowMs - member.idleSinceMs < limits.idleMs) return undefined
    return kept > (this.#unused(pool, limits.warmMs) ? 0 : limits.warmSize) ? 'idle' : undefined
  }

  #warm(pool: Pool<M>): void {
    const { warmSize, warmMs, poolSize, backendsMax } = this.#limits
    if (!pool.validated || pool.retryAtMs > this.#nowMs || this.#unused(pool, warmMs)) return
    while (pool.size < Math.min(warmSize, poolSize) && this.total < backendsMax) this.#open(pool)
  }

  #unused(pool: Pool<M>, forMs: number): boolean {
    return pool.sessions === 0 && pool.waiting === 0 && this.#nowMs - pool.lastUsedMs >= forMs
  }

  /** Makes place in the table of pools. */
  #forgetOne(): boolean {
    for (const pool of this.pools.values()) {
      if (pool.members.size === 0 && pool.sessions === 0 && pool.waiting === 0) {
        this.pools.delete(pool.id)
        return true
      }
    }
    return false
  }
}

function ticketOf<M extends PoolMember<M>>(pool: Pool<M>): number {
  return pool.firstWaiter?.ticket ?? Number.POSITIVE_INFINITY
}
