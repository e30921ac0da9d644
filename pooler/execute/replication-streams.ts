import { PgError } from '../../shared/errors/pg-error.ts'
import { Kind } from '../../shared/link/frame.ts'
import { fromPgError } from '../../shared/pgwire/error-fields.ts'
import type { Executor } from './executor.ts'
import type { LinkSession } from './link-session.ts'
import { believes, readReplicationRequest } from './replication-request.ts'
import { ReplicationStream, type ReplicationOwner } from './replication-stream.ts'

/** The replication connections of one link. */
export class ReplicationStreams implements ReplicationOwner {
  readonly #link: LinkSession
  readonly #streams = new Map<number, ReplicationStream>()
  readonly #blocked: ReplicationStream[] = []

  constructor(link: LinkSession) {
    this.#link = link
  }

  get size(): number {
    return this.#streams.size
  }

  values(): Iterable<ReplicationStream> {
    return this.#streams.values()
  }

  /** Takes a frame if it is one of these streams'; false when it is not. */
  frame(
    kind: number,
    id: number,
    flags: number,
    value: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): boolean {
    if (kind === Kind.OpenReplication) {
      this.#open(id, bytes.toString('utf8', start, end))
      return true
    }
    const stream = this.#streams.get(id)
    if (stream === undefined) return false
    try {
      if (kind === Kind.Data) stream.data(flags, bytes, start, end)
      else if (kind === Kind.Credit) stream.credit(value)
      else if (kind === Kind.Cancel) stream.cancel()
      else if (kind === Kind.Close) this.#close(stream)
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      stream.terminate(error)
    }
    return true
  }

  /** The link takes data again: each sends until it does not, and then stands last in line. */
  drained(): void {
    for (let turns = this.#blocked.length; turns > 0; turns--) {
      if (this.#link.connection.congested) return
      this.#blocked.shift()?.flush()
    }
  }

  /** The link is gone, and with it everybody who could hear. */
  closed(): void {
    for (const stream of this.#streams.values()) stream.close()
    this.#streams.clear()
  }

  /** This node does not lead any more, or is about to stop. */
  cut(why: string): void {
    const message = `terminating connection: ${why}`
    const error = new PgError('admin_shutdown', message, { severity: 'FATAL' })
    for (const stream of this.#streams.values()) stream.terminate(error)
  }

  waitForDrain(stream: ReplicationStream): void {
    if (!this.#blocked.includes(stream)) this.#blocked.push(stream)
  }

  ended(stream: ReplicationStream): void {
    this.#streams.delete(stream.id)
  }

  #open(id: number, text: string): void {
    const { executor, connection } = this.#link
    try {
      const request = readReplicationRequest(text)
      const socketPath = checkedSocket(executor, text)
      const stream = new ReplicationStream(this, this.#link, { id, request, socketPath })
      this.#streams.set(id, stream)
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      connection.send(Kind.Failed, id, 0, 0, 0, 0, fromPgError(error))
    }
  }

  #close(stream: ReplicationStream): void {
    stream.close()
    this.#streams.delete(stream.id)
    this.#link.connection.send(Kind.Closed, stream.id, 0, 0, 0, 0)
  }
}

/** Postgres's socket, if a replication connection may be made now. @throws PgError FATAL. */
function checkedSocket(executor: Executor, text: string): string {
  const { gate, limits } = executor
  const refusal = gate.refusal ?? (believes(text, gate.state) ? undefined : gate.otherRule)
  if (refusal !== undefined) throw unavailable(refusal.message)
  if (executor.replications >= limits.replicationMax) {
    const limit = `limit ${limits.replicationMax}`
    const message = `too many replication connections on this pooler (${limit})`
    throw new PgError('too_many_connections', message, { severity: 'FATAL' })
  }
  const path = executor.socketPath()
  if (path === undefined) throw unavailable('PostgreSQL is not known yet')
  return path
}

function unavailable(why: string): PgError {
  return new PgError('cannot_connect_now', why, { severity: 'FATAL' })
}
