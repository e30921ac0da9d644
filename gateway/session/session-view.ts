import { now } from '../../shared/time/clock.ts'
import { Mode, type SessionCore } from './core.ts'

/** One session at this moment, for who administers the gateway. */
export type SessionView = {
  readonly user: string
  readonly database: string
  /** `host:port`, or `unix`. */
  readonly client: string
  readonly applicationName: string
  /** The pooler that its stream is open on. */
  readonly pooler: string | undefined
  /** Its last batch, or the present one, was sent so long ago; undefined before the first. */
  readonly requestAgoMs: number | undefined
  /** A batch of it waits in this gateway, for so long already. */
  readonly waitingMs: number | undefined
  readonly running: boolean
  /** A backend stays with it between batches, for a transaction or a pin. */
  readonly held: boolean
  /** Nothing runs, and nothing stays. */
  readonly free: boolean
  readonly pinned: boolean
  readonly statements: number
  /** Bytes that wait to be run, and to be read by the client. */
  readonly windowBytes: number
  readonly outputBytes: number
}

/** Looks at a session. */
export function viewOf(core: SessionCore): SessionView {
  const { up, down, window, extended, request } = core
  const time = now()
  const waits = core.mode === Mode.Waiting && core.waitingFromMs > 0
  return {
    user: request.user,
    database: request.database,
    client: request.client,
    applicationName: down.told?.values.get('application_name') ?? '',
    pooler: up.link?.id,
    requestAgoMs: core.sentMs > 0 ? time - core.sentMs : undefined,
    waitingMs: waits ? time - core.waitingFromMs : undefined,
    running: up.running,
    held: up.held,
    free: !up.running && !up.held,
    pinned: up.pinned,
    statements: extended?.statements.count ?? 0,
    windowBytes: window.waiting,
    outputBytes: down.output.waiting,
  }
}

/** For people. */
export function describeSession(core: SessionCore, paused: boolean): Record<string, unknown> {
  const { mode, status, up, down, window, extended, request } = core
  return {
    user: request.user,
    database: request.database,
    client: request.client,
    state: Object.entries(Mode).find(([, value]) => value === mode)?.[0],
    status: String.fromCharCode(status),
    pooler: up.link?.id,
    stream: up.stream,
    batch: up.batch,
    held: up.held,
    pinned: up.pinned,
    reads: core.reads,
    statements: extended?.statements.count ?? 0,
    paused,
    window_bytes: window.waiting,
    output_bytes: down.output.waiting,
  }
}
