// The invariants. Whatever fails here is a lost write, a stale read, or a step towards one.
import { parsePolicy, satisfiedBy } from '../../../shared/consensus/durability.ts'
import {
  compareNumbers,
  formatNumber,
  sameRule,
  type Rule,
} from '../../../shared/consensus/rule.ts'
import type { PromiseState } from '../../../pooler/term/promise-state.ts'
import type { WalRecord } from '../postgres/wal.ts'
import type { Postgres } from '../postgres/server.ts'
import type { NodeParts, Witness } from '../world/here.ts'
import type { World } from '../world/world.ts'
import type { Pooler } from './pooler.ts'
import { leaderWithout } from './recruitments.ts'

/** Watches one run. */
export class Judge implements Witness {
  readonly world: World
  readonly nodes: () => Iterable<NodeParts>
  readonly poolers: () => Iterable<Pooler>
  /** Writes that a client was told are done, in that order; and what a client has read. */
  readonly acknowledged: WalRecord[] = []
  readonly #known = new Set<WalRecord>()
  readonly #decided = new Map<string, { rule: Rule; at: NodeParts }>()
  readonly #promised = new Map<string, string>()
  /** Of the newest leader that answered a client. */
  #answered = { term: 0n, id: '' }
  #newest: { rule: Rule; at: NodeParts } | undefined
  /** Copies on disks are being thrown away on purpose. */
  wiping = false
  decisions = 0

  constructor(
    world: World,
    of: { nodes: () => Iterable<NodeParts>; poolers: () => Iterable<Pooler> },
  ) {
    this.world = world
    this.nodes = of.nodes
    this.poolers = of.poolers
  }

  get leaderTerm(): bigint {
    return this.#answered.term
  }

  /** A promise has reached the disk. */
  promised({ id }: NodeParts, state: PromiseState): void {
    const { revocation, incarnation } = state
    const { revokedBelowTerm, coordinatorId, coordinatorInitiatedUnixMs } = revocation
    const key = `${id} ${incarnation} ${revokedBelowTerm}`
    const value = `${coordinatorId} ${coordinatorInitiatedUnixMs}`
    const before = this.#promised.get(key)
    if (before !== undefined && before !== value) {
      this.world.fail('one coordinator a term', `${key}: ${before}, then ${value}`)
    }
    this.#promised.set(key, value)
  }

  /** What a coordinator is told of a promise is on the disk. */
  replied({ id, promises }: NodeParts, method: string, reply: unknown): void {
    if (method !== 'recruit' || promises === undefined) return
    const { revocation } = reply as { revocation?: { revokedBelowTerm: bigint } }
    const told = revocation?.revokedBelowTerm ?? 0n
    if (promises.revocation.revokedBelowTerm >= told) return
    this.world.fail('promises are on disk', `${id} said ${told}`)
  }

  /** A follower appends to what its source holds as well. */
  appended({ id }: Postgres, own: WalRecord | undefined, theirs: WalRecord | undefined): void {
    if (own === theirs) return
    this.world.fail('a follower holds the history of its leader', `${id} at ${own?.at}`)
  }

  /**
   * Who is appointed holds all that was acknowledged, before anybody follows it. One appointed late,
   * for a term below one that is decided, need not: nobody helps it.
   */
  proposed(at: NodeParts): void {
    const { proposal } = at.postgres.row
    const newest = this.#newest?.rule.number
    if (proposal === undefined) return
    if (newest !== undefined && compareNumbers(newest, proposal.number) > 0) return
    for (const record of this.#known) this.#requireHeld(record, at, 'appointed')
  }

  /** The row of a primary has a new decision. */
  decided(at: NodeParts): void {
    const { decision } = at.postgres.row
    const key = formatNumber(decision.number)
    const former = at.postgres.data.wal.at(-2)?.row.decision
    this.#requireDurable(at, decision, former)
    if (former !== undefined && compareNumbers(former.number, decision.number) >= 0) {
      this.world.fail('rules never go back', `${at.id}: ${formatNumber(former.number)}, ${key}`)
    }
    const before = this.#decided.get(key)
    if (before !== undefined && !sameRule(before.rule, decision)) {
      this.world.fail(
        'one rule a number',
        `${key}: of ${before.rule.leaderId}, ${decision.leaderId}`,
      )
    }
    this.#decided.set(key, { rule: decision, at })
    this.decisions += 1
    if (decision.leaderId !== at.id) return
    const newest = this.#newest
    if (newest !== undefined && compareNumbers(newest.rule.number, decision.number) >= 0) return
    this.#newest = { rule: decision, at }
    for (const record of this.#known) this.#requireHeld(record, at, `decided leader of ${key}`)
  }

  /** Before it is decided its quorum has the proposal, and that of the rule before it. */
  #requireDurable(at: NodeParts, decision: Rule, former: Rule | undefined): void {
    const proposed = at.postgres.data.wal.findLast(({ kind, row: { proposal } }) => {
      return kind === 'rule' && proposal !== undefined && sameRule(proposal, decision)
    })
    if (proposed === undefined) return
    this.#requireQuorum(proposed, decision, at)
    if (former !== undefined && former.cohort.length > 0) this.#requireQuorum(proposed, former, at)
  }

  #requireHeld(record: WalRecord, { id, postgres }: NodeParts, what: string): void {
    if (postgres.disk === undefined || postgres.disk.wal[record.at] === record) return
    const { value, at, timeline } = record
    this.world.fail(
      'no acknowledged write is lost',
      `${value} (at ${at} on ${timeline}), ${id}: ${what}`,
    )
  }

  /**
   * A write is done as far as Postgres is concerned: its quorum has it. One that was written before
   * its leader changed its rule may end by the new rule; who recruits now still finds it, whomever
   * of its members it reaches, and whether these know the new rule as decided or as proposed.
   */
  released(record: WalRecord, at: NodeParts): void {
    const before = record.row.decision
    const { decision } = at.postgres.row
    const { coordinatorTerm, leaderSubterm } = before.number
    const changed =
      decision.number.coordinatorTerm === coordinatorTerm &&
      decision.number.leaderSubterm > leaderSubterm
    if (!changed || this.#hasQuorum(record, before)) return this.#requireQuorum(record, before, at)
    this.#requireQuorum(record, decision, at)
    this.#requireFound(record, at)
  }

  #requireFound(record: WalRecord, at: NodeParts): void {
    if (this.wiping) return
    const leader = leaderWithout(record, [...this.nodes()])
    if (leader === undefined) return
    const text = `${at.id}: ${record.value} is not found by ${leader.recruits}, led by ${leader.id}`
    this.world.fail('a quorum holds what is acknowledged', text)
  }

  #requireQuorum(record: WalRecord, decision: Rule, at: NodeParts): void {
    if (this.wiping || this.#hasQuorum(record, decision)) return
    const rule = formatNumber(decision.number)
    this.world.fail(
      'a quorum holds what is acknowledged',
      `${at.id} by ${rule}: only ${this.#holders(record).join(', ')}`,
    )
  }

  #hasQuorum(record: WalRecord, decision: Rule): boolean {
    const cohort = new Set(decision.cohort.map(({ id }) => id))
    const counted = this.#holders(record).filter((id) => cohort.has(id))
    return satisfiedBy(parsePolicy(decision.durability), counted)
  }

  #holders(record: WalRecord): string[] {
    const holders: string[] = []
    for (const { id, postgres } of this.nodes()) {
      if (postgres.disk?.wal[record.at] === record) holders.push(id)
    }
    return holders
  }

  /** A pooler lets a batch start: what it answers is no older than this moment. */
  admits({ node, serving }: Pooler): void {
    const { term } = serving.current
    if (term < this.#answered.term) {
      const { id, term: newer } = this.#answered
      const text = `${node.id} of term ${term} after ${id} of ${newer}`
      this.world.fail('one leader answers', text)
    }
    if (term > this.#answered.term) this.#answered = { term, id: node.id }
  }

  /** A client hears that its write is done, or reads it. */
  heard(record: WalRecord, by: NodeParts): void {
    if (this.#known.has(record)) return
    this.#known.add(record)
    this.acknowledged.push(record)
    const newest = this.#newest
    if (newest === undefined || newest.at === by) return
    if (compareNumbers(record.row.decision.number, newest.rule.number) < 0) {
      this.#requireHeld(record, newest.at, 'acknowledged when another led')
    }
  }

  /** A read that began when `before` writes were known must see them all. */
  read(sees: (record: WalRecord) => boolean, before: number, by: NodeParts): void {
    for (let index = 0; index < before; index += 1) {
      const record = this.acknowledged[index]!
      if (sees(record)) continue
      return this.world.fail('no stale read', `${by.id} does not show ${record.value}`)
    }
  }

  /** After every event. */
  check(): void {
    let serving = 0
    for (const pooler of this.poolers()) if (pooler.serving.current.serving) serving += 1
    if (serving < 2) return
    const open: Pooler[] = []
    for (const pooler of this.poolers()) {
      const { alive, frozen, machine } = pooler.process
      if (!alive || frozen || !machine.up) continue
      this.world.current = pooler.process
      if (pooler.answers) open.push(pooler)
    }
    this.world.current = undefined
    if (open.length < 2) return
    const names = open.map(({ node, serving: { current } }) => `${node.id} (${current.term})`)
    this.world.fail('one leader is open', names.join(' and '))
  }
}
