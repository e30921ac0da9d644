import type { Logger } from '../../shared/log/logger.ts'
import type { Hold } from '../hold/hold.ts'
import type { Followers } from '../replica/followers.ts'
import type { Pauses } from '../hold/pauses.ts'
import type { Route } from '../poolers/route.ts'
import type { StatementRegistry } from '../statements/statement-registry.ts'
import type { BatchBuilder } from './batch-builder.ts'
import type { PieceScanner } from './piece-scanner.ts'
import type { Session } from './session.ts'
import type { TrafficBook } from './traffic.ts'

/** Counts of this gateway since its start; plain numbers, read when somebody asks. */
export class Counters {
  bytesIn = 0
  bytesOut = 0
  batches = 0
  /** Pieces of batches: a batch in one write is one. */
  pieces = 0
  errors = 0
  /** Batches that asked for a pin. */
  pinRequests = 0
  refused = 0
  lost = 0
  cancels = 0
  logins = 0
  loginsFailed = 0
}

/** Bounds of one session; read anew at each use, so that live settings take effect at once. */
export type SessionLimits = {
  /** Bytes of a client that wait behind a running batch before its socket is paused. */
  readonly windowBytes: number
  /** A text that is longer is not looked at: a Query pins, a Parse is refused. */
  readonly statementBytesMax: number
  readonly messageBytesMax: number
  readonly preparedStatementsMax: number
  /** How long a client that sends nothing more may wait for its answers. */
  readonly halfClosedMs: number
  /** How long work that has not started waits for a leader. */
  readonly failoverWindowMs: number
  /** How long work that has not started waits for a RESUME. */
  readonly pauseTimeoutMs: number
  /** Whose sessions have a backend of their own unless they say otherwise, and in what. */
  readonly sessionPoolingUsers: readonly string[]
  readonly sessionPoolingDatabases: readonly string[]
  /** What becomes of a session that may have missed notifications. */
  readonly listenLoss: 'close' | 'notice'
  /** Whose surely reading batches go to followers unless they say otherwise. */
  readonly splitReadsUsers: readonly string[]
}

/** What all sessions of a gateway share. */
export type SessionHost = {
  readonly route: Route
  /** Whom sessions may read from that run on the leader; undefined where all run elsewhere. */
  readonly followers?: Followers | undefined
  readonly registry: StatementRegistry
  readonly builder: BatchBuilder
  readonly scanner: PieceScanner
  readonly hold: Hold
  readonly pauses: Pauses
  readonly limits: SessionLimits
  readonly counters: Counters
  readonly traffic: TrafficBook
  readonly log: Logger
  /** How long a batch took, of one that was measured. */
  observe(latencyMs: number): void
  /** The session has ended; its number may be used again. */
  ended(session: Session): void
}
