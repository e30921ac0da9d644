// Asks the cohort for grants while this node leads, or is about to. One request does not wait for
// the answer to the one before it: on a machine with too much to do an answer may take most of a
// lease, and what was asked for meanwhile is then about to come.
import { PoolerClient } from '../../proto/gen/pooler.ts'
import { isRuleRevoked } from '../../shared/consensus/revocation.ts'
import {
  formatNumber,
  memberOf,
  type CohortMember,
  type Rule,
} from '../../shared/consensus/rule.ts'
import { CONTROL_PROTOCOL_VERSION } from '../../shared/consensus/wire.ts'
import { callUnary } from '../../shared/rpc/client.ts'
import { RenewedClient } from '../../shared/rpc/renewed-client.ts'
import { now, timer } from '../../shared/time/clock.ts'
import type { PoolerDirectory } from '../../shared/topology/directory.ts'
import { instant } from './instant.ts'
import type { Member } from './member.ts'

/** Requests in the time of one lease: some may be lost or late. As many may be on their way. */
const ASKED_PER_LEASE = 5
/** How often it is looked whether there is something to ask for. */
const IDLE_MS = 20
/**
 * Without an answer for so much of a lease the connection may be one that a cut has left behind;
 * who is only slow has answered by then, or answers too late for any lease.
 */
const IN_VAIN = 0.7

type Peer = {
  readonly line: RenewedClient<PoolerClient>
  asked: number
  /** When the first request went out that came behind the last answer. */
  waitsSinceMs: number | undefined
}

/** What it stands on; the directory is its owner's to dispose. */
export type LeaseKeeperOptions = {
  readonly member: Member
  readonly directory: Pick<PoolerDirectory, 'poolers'>
  readonly token: string | undefined
}

/** Keeps the lease of `member` until disposed. */
export class LeaseKeeper implements Disposable {
  readonly #member: Member
  readonly #options: LeaseKeeperOptions
  readonly #peers = new Map<string, Peer>()
  #next: Disposable
  #expiry: Disposable | undefined
  #told = ''

  constructor(options: LeaseKeeperOptions) {
    this.#member = options.member
    this.#options = options
    this.#next = this.#after(0)
  }

  [Symbol.dispose](): void {
    this.#next[Symbol.dispose]()
    this.#expiry?.[Symbol.dispose]()
    for (const { line } of this.#peers.values()) line.close()
    this.#peers.clear()
  }

  #after(ms: number): Disposable {
    return timer(ms, () => {
      this.#next = this.#after(this.#ask())
    })
  }

  /** Asks everybody that there is to ask; milliseconds until the next time. */
  #ask(): number {
    const { lease, identity } = this.#member
    const rules = leadingRules(this.#member)
    lease.lead(rules)
    // The oldest: a member that was recruited for another term refuses that one for sure, where it
    // may not have heard of a rule that this leader has added since.
    const oldest = rules.at(-1)
    if (oldest === undefined) return IDLE_MS
    const cohort = new Map(rules.flatMap((rule) => rule.cohort.map((one) => [one.id, one])))
    for (const peer of cohort.values()) {
      if (peer.id !== identity.id) void this.#askOne(peer, oldest)
    }
    if (lease.holds()) this.#held()
    return lease.lengthMs / ASKED_PER_LEASE
  }

  /** Never rejects. */
  async #askOne({ id, incarnation }: CohortMember, rule: Rule): Promise<void> {
    const peer = this.#peer(id)
    const { lease, identity, clusterId } = this.#member
    if (peer === undefined || peer.asked >= ASKED_PER_LEASE) return
    peer.waitsSinceMs ??= now()
    if (now() - peer.waitsSinceMs > IN_VAIN * lease.lengthMs) peer.line.renew()
    peer.asked += 1
    const asked = instant()
    const header = {
      protocolVersion: CONTROL_PROTOCOL_VERSION,
      clusterId: clusterId ?? '',
      database: identity.database,
      shard: identity.shard,
      targetId: id,
      targetIncarnation: incarnation,
    }
    try {
      const request = { header, rule: rule.number, leaderId: identity.id }
      const timeoutMs = Math.max(lease.lengthMs, 1)
      const reply = await callUnary(peer.line.client, 'grant', request, { timeoutMs })
      peer.waitsSinceMs = undefined
      if (!reply.granted) this.#tell(id, reply.reason)
      else if (lease.granted(id, rule, asked)) this.#held()
    } catch (error) {
      this.#tell(id, error instanceof Error ? error.message : String(error))
    } finally {
      peer.asked -= 1
    }
  }

  /** What is told of a leader that serves is told again when its lease has ended. */
  #held(): void {
    const member = this.#member
    if (!member.serving.current.serving) member.publish()
    const remainingMs = member.lease.remainingMs()
    this.#expiry?.[Symbol.dispose]()
    this.#expiry =
      remainingMs === Infinity || remainingMs < 0
        ? undefined
        : timer(remainingMs + 1, () => member.publish(), { ref: false })
  }

  /** The client of a member at its present address; undefined while that is not known. */
  #peer(id: string): Peer | undefined {
    const address = this.#options.directory.poolers.get(id)?.record.grpc
    const known = this.#peers.get(id)
    if (address === undefined || known?.line.address === address) return known
    known?.line.close()
    const { token } = this.#options
    const line = new RenewedClient(PoolerClient, address, { token })
    const peer = { line, asked: 0, waitsSinceMs: undefined }
    this.#peers.set(id, peer)
    return peer
  }

  #tell(id: string, reason: string): void {
    const told = `${id}: ${reason}`
    if (told === this.#told) return
    this.#told = told
    this.#member.log.info('no grant', { member: id, reason })
  }
}

/** The rules by which `member` leads or is about to, the newest first. */
export function leadingRules(member: Member): readonly Rule[] {
  const { promises, position, appointing, identity, seen } = member
  if (promises === undefined) return []
  const { incarnation, revocation } = promises.state
  const primary = seen.standing?.inRecovery === false
  const known = primary && position !== undefined ? [position.proposal, position.decision] : []
  const rules = new Map<string, Rule>()
  for (const rule of [appointing, ...known]) {
    if (rule === undefined || rule.leaderId !== identity.id) continue
    if (memberOf(rule, identity.id)?.incarnation !== incarnation) continue
    if (isRuleRevoked({ decision: rule, proposal: undefined }, revocation)) continue
    rules.set(formatNumber(rule.number), rule)
  }
  return [...rules.values()]
}
