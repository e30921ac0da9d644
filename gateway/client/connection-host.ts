import type { Logger } from '../../shared/log/logger.ts'
import type { CancelRequest } from '../../shared/pgwire/startup-packet.ts'
import type { Expiry } from '../../shared/time/expiry.ts'
import type { AuthRules } from '../auth/auth-rules.ts'
import type { LoginQuestion, LoginRow } from '../poolers/logins.ts'
import type { StreamRequest } from '../poolers/pooler-link.ts'
import type { Counters } from '../session/session-host.ts'
import type { ReplicationSession } from '../replication/replication-session.ts'
import type { Console } from '../console/console.ts'
import type { Session } from '../session/session.ts'
import type { ClientSocket } from './client-socket.ts'
import type { Connection } from './connection.ts'
import type { TlsIdentity } from './tls.ts'

/** Who has a place among the clients. */
export type Admitted = { readonly closed: boolean }

/**
 * A client that counts against the limits; disposing it frees its place unless a session has it.
 */
export interface Admission extends Disposable {
  /** Sessions of the same user that were there before. */
  readonly sessions: number
  keepFor(session: Admitted): void
}

/** A session to be made for a client that has proven who it is. */
export type NewSession = {
  socket: ClientSocket
  version: number
  request: Omit<StreamRequest, 'session'>
}

/** What connections need from the gateway. */
export interface ConnectionHost {
  readonly log: Logger
  readonly counters: Counters
  /** Who is not in yet. */
  readonly late: Expiry<Connection>
  /** Salts of users that do not exist are made from it. */
  readonly mockSecret: Uint8Array
  /** Who may come in, and how they prove who they are. */
  readonly rules: AuthRules
  /** The certificate to present now; undefined without TLS. */
  tls(): TlsIdentity | undefined
  /** A place for somebody who has not proven anything yet; undefined when there is none. */
  stranger(address: string): Disposable | undefined
  /**
   * Counts a client that has proven who it is.
   * @throws PgError too_many_connections, or cannot_connect_now while draining.
   */
  admit(user: string, database: string): Admission
  /**
   * The login row, read from the leader; waits for one, or with `reads` for a follower.
   * @throws PgError
   */
  loginRow(question: LoginQuestion, reads: boolean): Promise<LoginRow>
  /** Takes a step of a login again while nobody can serve, as long as clients wait for a leader. */
  untilLed<T>(step: () => Promise<T>): Promise<T>
  newSession(options: NewSession): Session
  /** For clients of the database that is none. */
  readonly console: Console
  /** A process id for a session that is not made by `newSession`. */
  nextNumber(): number
  /** A walsender of its own instead, on the leader. */
  newReplication(options: NewSession): ReplicationSession
  /** Handles a CancelRequest to its end. */
  cancel(request: CancelRequest): Promise<void>
  closed(connection: Connection): void
}
