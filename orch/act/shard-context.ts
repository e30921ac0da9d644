// What every action has: the shard as it is known now, and calls to its members, each addressed to
// exactly the life of the member that was seen.
import type { CallHeader } from '../../proto/gen/consensus.ts'
import type { PoolerClient, StatusReply } from '../../proto/gen/pooler.ts'
import { CONTROL_PROTOCOL_VERSION } from '../../shared/consensus/wire.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { type Tell, tellNobody } from '../../shared/events/cluster-event.ts'
import type { Logger } from '../../shared/log/logger.ts'
import type { Topology } from '../../shared/topology/topology.ts'
import { addressOf, type MemberSnapshot, type ShardSnapshot } from '../analyze/snapshot.ts'
import type { KnownClaim } from '../observe/database-watch.ts'
import type { ShardObserver } from '../observe/shard-observer.ts'

/** A member that can be called. */
export type Callee = {
  readonly id: string
  readonly member: MemberSnapshot
  readonly client: PoolerClient
  readonly header: CallHeader
  /** Its Postgres, for others. */
  readonly address: { readonly host: string; readonly port: number }
  /** Takes a status out of an answer. */
  readonly learn: (status: StatusReply) => void
}

/** One shard, for actions. */
export class ShardContext {
  readonly orchId: string
  readonly topology: Topology
  readonly log: Logger
  readonly leaseMs: number
  /** Takes each step of an action, for people. */
  readonly tell: Tell
  readonly #observer: ShardObserver

  constructor(options: {
    orchId: string
    topology: Topology
    log: Logger
    leaseMs: number
    observer: ShardObserver
    tell?: Tell
  }) {
    this.orchId = options.orchId
    this.topology = options.topology
    this.log = options.log
    this.leaseMs = options.leaseMs
    this.#observer = options.observer
    this.tell = options.tell ?? tellNobody
  }

  get database(): string {
    return this.#observer.database.name
  }

  get shard(): string {
    return this.#observer.shard
  }

  get claim(): KnownClaim | undefined {
    return this.#observer.database.claim(this.shard)
  }

  snapshot(): ShardSnapshot {
    return this.#observer.snapshot()
  }

  /** @throws PgError cannot_connect_now for a member that is not known any more. */
  callee(id: string): Callee {
    const snapshot = this.snapshot()
    const member = snapshot.members.find((known) => known.id === id)
    const watch = this.#observer.watchOf(id)
    if (member === undefined || watch === undefined) {
      throw new PgError('cannot_connect_now', `${id} is not known any more`)
    }
    return {
      id,
      member,
      client: watch.client,
      header: this.#header(snapshot, member),
      address: addressOf(member),
      learn: (status) => watch.learn(status),
    }
  }

  /** The topology may be away: then a member's own word on its cluster has to do. */
  #header(snapshot: ShardSnapshot, member: MemberSnapshot): CallHeader {
    return {
      protocolVersion: CONTROL_PROTOCOL_VERSION,
      clusterId: snapshot.record?.clusterId ?? member.status?.clusterId ?? '',
      database: snapshot.database,
      shard: snapshot.shard,
      targetId: member.id,
      targetIncarnation: member.status?.incarnation ?? '',
    }
  }
}
