import type { Logger } from '../../shared/log/logger.ts'
import type { SessionTable } from '../cancel/cancel-keys.ts'
import type { NewSession } from '../client/connection-host.ts'
import type { Router } from '../poolers/router.ts'
import { ReplicationSession, type ReplicationHost } from './replication-session.ts'

/** What the replication connections of a gateway stand on. */
export type ReplicationsOptions = {
  readonly router: Router
  /** Process ids are one set with the sessions'. */
  readonly table: SessionTable
  readonly log: Logger
  ended(session: ReplicationSession): void
}

/** A new one; its process id is chosen here. */
export type NewReplication = Omit<NewSession, 'version'> & { readonly cancelKey: Buffer }

/** The replication connections of a gateway. */
export class Replications implements ReplicationHost {
  readonly log: Logger
  readonly #options: ReplicationsOptions
  readonly #sessions = new Set<ReplicationSession>()

  constructor(options: ReplicationsOptions) {
    this.#options = options
    this.log = options.log
    const { router } = options
    router.onLeader(() => {
      for (const session of this.#sessions) session.leaderIs(router.leader)
    })
  }

  get size(): number {
    return this.#sessions.size
  }

  values(): ReplicationSession[] {
    return [...this.#sessions]
  }

  add({ socket, cancelKey, request }: NewReplication): ReplicationSession {
    const { table } = this.#options
    const number = table.nextNumber()
    const session = new ReplicationSession({
      host: this,
      socket,
      number,
      cancelKey,
      request: { ...request, session: number },
    })
    this.#sessions.add(session)
    table.addOther(session)
    return session
  }

  leader(): Router['leader'] {
    return this.#options.router.leader
  }

  /** Postgres compares names without regard to case. */
  isMember(applicationName: string): boolean {
    const name = applicationName.toLowerCase()
    for (const id of this.#options.router.links.keys()) if (id.toLowerCase() === name) return true
    return false
  }

  ended(session: ReplicationSession): void {
    if (!this.#sessions.delete(session)) return
    this.#options.table.removeOther(session)
    this.#options.ended(session)
  }
}
