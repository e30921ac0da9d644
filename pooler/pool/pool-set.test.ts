// Goal: the pools keep their bounds, serve in order and lose no wake-up, whatever happens in
// whatever order.
// Method: random operations from a seed. A naive model keeps its own arrays from what it was told
// (opened, shut, granted, refused) and judges every call against the rules.
import { describe, expect, test } from 'bun:test'
import { PoolMember, type CloseReason } from './pool-member.ts'
import { PoolWaiter, type Refusal } from './pool-waiter.ts'
import type { Pool, PoolKey } from './pool.ts'
import { PoolSet, type PoolLimits } from './pool-set.ts'

class Member extends PoolMember<Member> {
  static made = 0
  readonly name = ++Member.made
  /** Only waiters that know this too can take it; a new one suits all. */
  knows: string | undefined
  readonly #onShut: (member: Member, reason: CloseReason) => void

  constructor(pool: Pool<Member>, onShut: (member: Member, reason: CloseReason) => void) {
    super(pool)
    this.#onShut = onShut
  }

  shut(reason: CloseReason): void {
    this.#onShut(this, reason)
  }
}

class Waiter extends PoolWaiter<Member> {
  member: Member | undefined
  refusal: Refusal | undefined
  knows: string | undefined
  onGrant: ((member: Member) => void) | undefined
  readonly #world: World

  constructor(world: World) {
    super()
    this.#world = world
  }

  override suits(member: Member): boolean {
    return member.knows === undefined || member.knows === this.knows
  }

  granted(member: Member): void {
    expect(this.suits(member)).toBe(true)
    this.#world.granted(this, member)
    this.member = member
    this.onGrant?.(member)
  }

  refused(refusal: Refusal): void {
    this.refusal = refusal
    this.#world.refused(this, refusal)
  }
}

const LIMITS = {
  poolSize: 3,
  backendsMax: 7,
  pinnedMax: 2,
  poolsMax: 5,
  waitersMax: 6,
  waitMs: 1000,
  lifetimeMs: 20_000,
  idleMs: 3000,
  warmSize: 1,
  warmMs: 5000,
}

/** The naive model, and the world that the pools believe in. */
class World {
  readonly limits: { -readonly [K in keyof PoolLimits]: PoolLimits[K] } = { ...LIMITS }
  nowMs = 0
  readonly set: PoolSet<Member>
  /** The model: plain arrays. */
  opening: Member[] = []
  idle: Member[] = []
  busy: Member[] = []
  pinned: Member[] = []
  closing: Member[] = []
  waiters: { waiter: Waiter; pool: Pool<Member>; sinceMs: number }[] = []
  shuts: CloseReason[] = []
  readonly random: () => number

  constructor(random: () => number) {
    this.random = random
    this.set = new PoolSet<Member>({ open: (pool) => this.#open(pool), random }, this.limits, 0)
  }

  get all(): Member[] {
    return [...this.opening, ...this.idle, ...this.busy, ...this.pinned, ...this.closing]
  }

  pool(name: string): Pool<Member> {
    return this.set.pool(keyOf(name)) as Pool<Member>
  }

  #open(pool: Pool<Member>): Member {
    const member = new Member(pool, (closed, reason) => {
      this.shuts.push(reason)
      move(closed, [this.opening, this.idle, this.busy, this.pinned], this.closing)
    })
    this.opening.push(member)
    return member
  }

  acquire(pool: Pool<Member>, flavor?: object, knows?: string): Waiter {
    const waiter = new Waiter(this)
    waiter.wantedFlavor = flavor
    waiter.knows = knows
    const before = this.waiters.filter((entry) => entry.pool === pool).length
    const idle = this.idle.filter((member) => member.pool === pool)
    this.waiters.push({ waiter, pool, sinceMs: this.nowMs })
    const member = this.set.acquire(pool, waiter)
    const wanted = idle.findLast((one) => flavor !== undefined && one.flavor === flavor)
    const found = wanted ?? idle.findLast((one) => waiter.suits(one))
    if (found !== undefined) {
      expect(member).toBe(found)
    } else {
      expect(member).toBeUndefined()
      if (waiter.refusal !== undefined) expect(before).toBe(this.limits.waitersMax)
    }
    if (member !== undefined) waiter.granted(member)
    return waiter
  }

  granted(waiter: Waiter, member: Member): void {
    // In order; passed over is only whom nothing free suits.
    const at = this.waiters.findIndex((entry) => entry.waiter === waiter)
    const free = this.idle.filter((one) => one.pool === member.pool)
    for (const entry of this.waiters.slice(0, at)) {
      if (entry.pool !== member.pool) continue
      expect(free.some((one) => entry.waiter.suits(one))).toBe(false)
    }
    this.waiters.splice(at, 1)
    if (this.opening.includes(member)) move(member, [this.opening], this.busy)
    else move(member, [this.idle, this.busy, this.pinned], this.busy)
  }

  refused(waiter: Waiter, refusal: Refusal): void {
    const at = this.waiters.findIndex((entry) => entry.waiter === waiter)
    const sinceMs = this.waiters[at]?.sinceMs ?? Number.NaN
    if (refusal === 'timeout') expect(this.nowMs - sinceMs).toBeGreaterThanOrEqual(1000)
    this.waiters.splice(at, 1)
  }

  opened(member: Member): void {
    this.set.opened(member)
    if (this.opening.includes(member)) move(member, [this.opening], this.idle)
  }

  release(member: Member): void {
    const from = this.busy.includes(member) ? this.busy : this.pinned
    move(member, [from], this.idle) // granted and shut move it on from there
    this.set.release(member)
  }

  removed(member: Member): void {
    move(member, [this.opening, this.idle, this.busy, this.pinned, this.closing], [])
    this.set.removed(member)
  }

  tick(ms: number): void {
    this.nowMs += ms
    this.set.tick(this.nowMs)
  }

  /** The rules, in words a reader can check. */
  judge(): void {
    const { set, limits } = this
    expect(set.total).toBe(this.all.length)
    expect(set.pinnedTotal).toBe(this.pinned.length)
    expect(set.waitingTotal).toBe(this.waiters.length)
    expect(set.closingTotal).toBe(this.closing.length)
    expect(set.total).toBeLessThanOrEqual(limits.backendsMax)
    expect(this.pinned.length).toBeLessThanOrEqual(limits.pinnedMax)
    for (const pool of set.pools.values()) this.#judgePool(pool)
  }

  #judgePool(pool: Pool<Member>): void {
    const of = (members: Member[]): Member[] => members.filter((member) => member.pool === pool)
    const queue = this.waiters.filter((entry) => entry.pool === pool)
    const unpinned = of(this.all).length - of(this.pinned).length
    expect(pool.size).toBe(unpinned)
    expect(pool.idle).toEqual(of(this.idle))
    expect(pool.waiting).toBe(queue.length)
    expect(unpinned - of(this.closing).length).toBeLessThanOrEqual(this.limits.poolSize)
    if (queue.length === 0) return
    for (const { waiter } of queue) {
      expect(pool.idle.filter((member) => waiter.suits(member))).toEqual([])
    }
    // Whom nothing free suits has another on its way, where Postgres takes new ones.
    if (pool.idle.length > 0 && pool.retryAtMs <= this.nowMs && unpinned >= this.limits.poolSize) {
      const coming = of(this.opening).length + of(this.closing).length
      expect(coming).toBeGreaterThanOrEqual(Math.min(queue.length, 1))
    }
    const mayOpen =
      unpinned < this.limits.poolSize &&
      of(this.opening).length < queue.length &&
      pool.retryAtMs <= this.nowMs &&
      pool.failures === 0
    // No lost wake-up: only the budget stops it, and everyone who idles is on the way out.
    if (!mayOpen) return
    expect(this.set.total).toBe(this.limits.backendsMax)
    if (this.closing.length === 0) expect(this.idle).toEqual([])
  }
}

function keyOf(name: string): PoolKey {
  return { database: name, user: 'u', options: [] }
}

function move(member: Member, from: Member[][], to: Member[]): void {
  for (const list of from) {
    const at = list.indexOf(member)
    if (at >= 0) list.splice(at, 1)
  }
  to.push(member)
}

function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

function pick<T>(list: readonly T[], random: () => number): T | undefined {
  return list[Math.floor(random() * list.length)]
}

const FLAVORS = [undefined, {}, {}]
const NAMES = [undefined, undefined, 'x', 'y']

function step(world: World, waiters: Waiter[], random: () => number): void {
  const names = ['a', 'b', 'c', 'd', 'e']
  const dice = random()
  if (dice < 0.3) {
    const pool = world.pool(pick(names, random) ?? 'a')
    const flavor = pick(FLAVORS, random)
    waiters.push(world.acquire(pool, flavor, flavor && pick(NAMES, random)))
  } else if (dice < 0.5) {
    const member = pick([...world.busy, ...world.pinned], random)
    if (member === undefined) return
    const knows = pick(NAMES, random)
    member.knows ??= knows
    member.flavor = member.knows === undefined ? pick(FLAVORS, random) : {}
    world.release(member)
  } else if (dice < 0.65) {
    const member = pick(world.opening, random)
    if (member !== undefined) world.opened(member)
  } else if (dice < 0.72) {
    const member = pick(world.opening, random)
    if (member === undefined) return
    move(member, [world.opening], [])
    world.set.openFailed(member, random() < 0.3)
  } else if (dice < 0.78) {
    const member = pick(world.busy, random)
    if (member === undefined) return
    const room = world.pinned.length < world.limits.pinnedMax
    if (room) move(member, [world.busy], world.pinned)
    expect(world.set.pin(member)).toBe(room)
  } else if (dice < 0.88) {
    const member = pick(random() < 0.8 ? world.closing : world.all, random)
    if (member !== undefined) world.removed(member)
  } else if (dice < 0.91) {
    const entry = pick(world.waiters, random)
    if (entry === undefined) return
    world.waiters.splice(world.waiters.indexOf(entry), 1)
    world.set.withdraw(entry.waiter)
  } else if (dice < 0.93) {
    const member = pick(world.all, random)
    if (member !== undefined && !world.closing.includes(member)) world.set.retire(member)
  } else {
    world.tick(Math.floor(random() * 400))
  }
}

describe('PoolSet under random operations', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('keeps its rules (seed %d)', (seed) => {
    const random = randomFrom(seed)
    const world = new World(random)
    const waiters: Waiter[] = []
    for (let i = 0; i < 4000; i++) {
      step(world, waiters, random)
      world.judge()
    }
    // Everything ends: what is busy comes back, what closes goes, and nothing is left.
    for (let i = 0; i < 200; i++) {
      for (const member of world.opening.slice()) world.opened(member)
      for (const member of world.busy.concat(world.pinned)) world.release(member)
      for (const member of world.closing.slice()) world.removed(member)
      world.tick(100)
      world.judge()
    }
    expect(world.waiters).toEqual([])
    expect(world.busy).toEqual([])
    expect(waiters.filter((one) => one.member !== undefined).length).toBeGreaterThan(100)
    world.tick(LIMITS.warmMs + LIMITS.lifetimeMs)
    for (const member of world.closing.slice()) world.removed(member)
    world.tick(LIMITS.idleMs)
    expect(world.set.total).toBe(0)
    expect(world.set.pools.size).toBe(0)
  })
})

describe('PoolSet', () => {
  function worldOf(limits: Partial<PoolLimits>): World {
    const world = new World(() => 0)
    Object.assign(world.limits, { poolSize: 8, backendsMax: 8, waitersMax: 9, warmSize: 0 }, limits)
    return world
  }
  function fill(world: World, name: string, count: number): Waiter[] {
    const waiters = Array.from({ length: count }, () => world.acquire(world.pool(name)))
    for (const member of world.opening.slice()) world.opened(member)
    return waiters
  }

  test('a wait ends after wait_ms and not before', () => {
    const world = worldOf({ poolSize: 1 })
    fill(world, 'a', 1)
    const late = world.acquire(world.pool('a'))
    world.tick(999)
    expect(late.refusal).toBeUndefined()
    world.tick(1)
    expect(late.refusal).toBe('timeout')
  })

  test('idle backends of another pool make room', () => {
    const world = worldOf({})
    for (const waiter of fill(world, 'a', 8)) world.release(waiter.member as Member)
    const other = world.acquire(world.pool('b'))
    expect(world.shuts).toEqual(['evicted'])
    world.removed(world.closing[0] as Member)
    world.opened(world.opening[0] as Member)
    expect(other.member?.pool.key.database).toBe('b')
  })

  test('a pool that has all gives one up to a pool that waited longer', () => {
    const world = worldOf({})
    const holders = fill(world, 'a', 8)
    const starved = world.acquire(world.pool('b'))
    const younger = world.acquire(world.pool('a'))
    world.release(holders[0]?.member as Member)
    expect(world.shuts).toEqual(['evicted'])
    expect(younger.member).toBeUndefined()
    world.release(holders[1]?.member as Member)
    expect(younger.member).toBeDefined()
    world.removed(world.closing[0] as Member)
    world.opened(world.opening[0] as Member)
    expect(starved.member).toBeDefined()
  })

  test('a clear no of Postgres ends the wait of everyone when there is no other backend', () => {
    const world = worldOf({})
    const waiters = [world.acquire(world.pool('a')), world.acquire(world.pool('a'))]
    const [first, second] = [...world.opening]
    move(first as Member, [world.opening], [])
    world.set.openFailed(first as Member, true)
    expect(waiters.map((waiter) => waiter.refusal)).toEqual(['cannot_connect', 'cannot_connect'])
    world.removed(second as Member)
    world.judge()
  })

  test('failed connects are retried one at a time with growing pauses', () => {
    const world = worldOf({ waitMs: 60_000 })
    fill(world, 'b', 0)
    for (let i = 0; i < 4; i++) world.acquire(world.pool('a'))
    expect(world.opening.length).toBe(4)
    for (const member of world.opening.slice()) {
      move(member, [world.opening], [])
      world.set.openFailed(member, false)
    }
    const pauses: number[] = []
    for (let waited = 0; pauses.length < 7; waited += 10) {
      world.tick(10)
      if (world.opening.length === 0) continue
      expect(world.opening.length).toBe(1)
      const member = world.opening[0] as Member
      move(member, [world.opening], [])
      world.set.openFailed(member, false)
      pauses.push(waited)
      waited = 0
    }
    expect(pauses[0]).toBeLessThan(60)
    expect(pauses.at(-1)).toBeGreaterThan(900)
    expect(pauses.at(-1)).toBeLessThan(1100)
  })

  test('a grant that comes straight back serves the whole queue without deep recursion', () => {
    const world = worldOf({ poolSize: 1, waitersMax: 100_000 })
    const holder = fill(world, 'a', 1)[0]
    const set = world.set
    let served = 0
    class Quick extends PoolWaiter<Member> {
      granted(member: Member): void {
        served++
        set.release(member)
      }
      refused(): void {
        throw new Error('refused')
      }
    }
    for (let i = 0; i < 50_000; i++) set.acquire(world.pool('a'), new Quick())
    set.release(holder?.member as Member)
    expect(served).toBe(50_000)
  })

  test('a free backend that suits nobody makes place', () => {
    const world = worldOf({ poolSize: 1 })
    const first = fill(world, 'a', 1)[0]?.member as Member
    first.knows = 'x'
    world.release(first)
    const plain = world.acquire(world.pool('a'))
    expect(world.shuts).toEqual(['unsuitable'])
    world.removed(first)
    world.opened(world.opening[0] as Member)
    expect(plain.member).toBeDefined()
    expect(plain.member).not.toBe(first)
  })

  test('who is passed over gets the next one that is opened', () => {
    const world = worldOf({ poolSize: 2 })
    const holders = fill(world, 'a', 2).map((waiter) => waiter.member as Member)
    const plain = world.acquire(world.pool('a'))
    const other = world.acquire(world.pool('a'), undefined, 'x')
    for (const holder of holders) holder.knows = 'x'
    world.release(holders[0] as Member)
    expect(world.shuts).toEqual(['unsuitable']) // for who waits longer
    world.release(holders[1] as Member)
    expect(other.member).toBe(holders[1] as Member)
    world.removed(holders[0] as Member)
    world.opened(world.opening[0] as Member)
    expect(plain.member).toBeDefined()
  })

  test('lifetimes of backends opened together end apart', () => {
    const ends: number[] = []
    const random = randomFrom(7)
    const world = new World(random)
    Object.assign(world.limits, { poolSize: 8, backendsMax: 8, waitersMax: 9 })
    for (const waiter of fill(world, 'a', 8)) ends.push(waiter.member?.expiresAtMs ?? 0)
    expect(new Set(ends).size).toBe(8)
    expect(Math.min(...ends)).toBeGreaterThan(LIMITS.lifetimeMs * 0.8)
    expect(Math.max(...ends)).toBeLessThanOrEqual(LIMITS.lifetimeMs)
  })
})
