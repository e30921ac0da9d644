// This pooler's pgctld over gRPC, as far as consensus needs it.
import { PgctldClient, State, StopMode } from '../../proto/gen/pgctld.ts'
import type {
  CloneProgress,
  CloneRequest,
  RewindRequest,
  StatusReply,
} from '../../proto/gen/pgctld.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import type { WalPlace } from '../../shared/replication/wal-segment.ts'
import { callStream, callUnary, rpcClient } from '../../shared/rpc/client.ts'

/** Lines of postgresql.auto.conf; an empty value removes a line. */
export type Settings = Readonly<Record<string, string>>

const STATUS_TIMEOUT_MS = 2000
const INIT_TIMEOUT_MS = 300_000
/** What a call may take longer than the time that it asks pgctld for. */
const MARGIN_MS = 2000

type OnProgress = (progress: CloneProgress) => void

/** The calls. Every one throws RpcError. */
export class Pgctld implements Disposable {
  readonly #client: PgctldClient

  constructor(address: string, token: string | undefined) {
    this.#client = rpcClient(PgctldClient, address, { token })
  }

  status(): Promise<StatusReply> {
    return callUnary(this.#client, 'status', {}, { timeoutMs: STATUS_TIMEOUT_MS })
  }

  init(sql: readonly string[]): Promise<StatusReply> {
    return callUnary(this.#client, 'init', { sql: [...sql] }, { timeoutMs: INIT_TIMEOUT_MS })
  }

  /** As a standby, always. */
  start(settings: Settings, timeoutMs: number): Promise<StatusReply> {
    const request = { settings: { ...settings }, timeoutMs }
    return callUnary(this.#client, 'start', request, { timeoutMs: timeoutMs + MARGIN_MS })
  }

  /** As a standby, always. */
  restart(settings: Settings, timeoutMs: number, cutBehind?: WalPlace): Promise<StatusReply> {
    const request = { mode: StopMode.FAST, settings: { ...settings }, timeoutMs, cutBehind }
    return callUnary(this.#client, 'restart', request, { timeoutMs: timeoutMs + MARGIN_MS })
  }

  stop(timeoutMs: number): Promise<StatusReply> {
    const request = { mode: StopMode.FAST, timeoutMs }
    return callUnary(this.#client, 'stop', request, { timeoutMs: timeoutMs + MARGIN_MS })
  }

  reload(settings: Settings): Promise<StatusReply> {
    const request = { settings: { ...settings } }
    return callUnary(this.#client, 'reload', request, { timeoutMs: STATUS_TIMEOUT_MS })
  }

  promote(timeline: number, timeoutMs: number): Promise<StatusReply> {
    const request = { timeline, timeoutMs }
    return callUnary(this.#client, 'promote', request, { timeoutMs: timeoutMs + MARGIN_MS })
  }

  /** Whether its Postgres came with pg_rewind. */
  async hasPgRewind(): Promise<boolean> {
    const version = await callUnary(this.#client, 'version', {}, { timeoutMs: STATUS_TIMEOUT_MS })
    return version.hasPgRewind
  }

  /** Runs to the end, however long: a clone once begun is not ended by a deadline of ours. */
  clone(request: CloneRequest, onProgress: OnProgress): Promise<StatusReply> {
    return toTheEnd('clone', callStream(this.#client, 'clone', request), onProgress)
  }

  /** As `clone`. After a failure the data directory is as it was, or UNUSABLE. */
  rewind(request: RewindRequest, onProgress: OnProgress): Promise<StatusReply> {
    return toTheEnd('rewind', callStream(this.#client, 'rewind', request), onProgress)
  }

  [Symbol.dispose](): void {
    this.#client.close()
  }
}

async function toTheEnd(
  name: string,
  stream: AsyncIterable<CloneProgress>,
  onProgress: OnProgress,
): Promise<StatusReply> {
  for await (const progress of stream) {
    onProgress(progress)
    if (progress.status !== undefined) return progress.status
  }
  throw new PgError('io_error', `the ${name} ended without a result`)
}

/** `PID/START` of the running postmaster: another value is another Postgres. Empty without one. */
export function postmasterOf(status: StatusReply | undefined): string {
  if (status === undefined || status.pid === 0) return ''
  return `${status.pid}/${status.postmasterStartTime}`
}

/** True where a data directory is known to be there, usable or not. */
export function hasData(status: StatusReply | undefined): boolean {
  return (
    status !== undefined &&
    status.state !== State.NOT_INITIALIZED &&
    status.state !== State.STATE_UNSPECIFIED
  )
}
