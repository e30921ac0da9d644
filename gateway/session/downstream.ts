// The client's side of a session: what it is sent, and what it was told.

import type { PgError } from '../../shared/errors/pg-error.ts'
import { fromPgError } from '../../shared/pgwire/error-fields.ts'
import type { ClientSocket } from '../client/client-socket.ts'
import type { ParameterVector } from '../poolers/parameter-vector.ts'
import type { SessionStatements } from '../statements/session-statements.ts'
import { withClientNames } from './error-names.ts'
import { Output } from './output.ts'
import { ready } from './units.ts'

const READY_BYTES = 6
const APPLICATION_NAME = 'application_name'

export class Downstream {
  readonly output: Output
  /** The values that the client believes to hold; undefined before the first backend. */
  told: ParameterVector | undefined
  /** LexMode bits of those values. */
  lexMode = 0
  readonly #applicationName: string | undefined
  #backendsName: string | undefined

  /** @param applicationName the client's own; backends are shared and have another. */
  constructor(socket: ClientSocket, applicationName: string | undefined) {
    this.output = new Output(socket)
    this.#applicationName = applicationName
  }

  /** The first backend's values; all of them are to be told. */
  begin(vector: ParameterVector): ParameterVector {
    this.#backendsName = vector.values.get(APPLICATION_NAME)
    const told = this.#asClientSees(vector)
    this.told = told
    this.lexMode = told.lexMode
    return told
  }

  /** Passes messages on as they are. */
  write(bytes: Buffer, start: number, end: number): void {
    this.output.write(bytes, start, end)
  }

  /** Passes messages on, of which an ErrorResponse at `errorAt` may name a shared statement. */
  writeRenamed(
    bytes: Buffer,
    range: { start: number; end: number; errorAt: number },
    statements: SessionStatements,
  ): void {
    const { start, end, errorAt } = range
    const errorEnd = errorAt + 1 + bytes.readInt32BE(errorAt + 1)
    const renamed =
      errorEnd > end
        ? undefined
        : withClientNames(bytes, { start: errorAt, end: errorEnd }, statements)
    if (renamed === undefined) {
      this.output.write(bytes, start, end)
      return
    }
    if (errorAt > start) this.output.write(bytes, start, errorAt)
    this.output.write(renamed, 0, renamed.length)
    if (end > errorEnd) this.output.write(bytes, errorEnd, end)
  }

  /** What the client must be told before a ReadyForQuery under `vector`; empty when it knows. */
  changesTo(vector: ParameterVector): Buffer {
    const { told } = this
    const seen = this.#asClientSees(vector)
    if (told === undefined || told === seen) return NOTHING
    this.told = seen
    this.lexMode = seen.lexMode
    return seen.changesFrom(told)
  }

  /** Passes on the end of a response, with `changes` in front of its ReadyForQuery. */
  writeReady(bytes: Buffer, start: number, end: number, changes: Buffer): void {
    const at = end - READY_BYTES
    if (at > start) this.output.write(bytes, start, at)
    this.output.write(changes, 0, changes.length)
    this.output.write(bytes, at, end)
  }

  /** An error of our own; a ReadyForQuery with `status` follows when it is given. */
  error(error: PgError, status?: number): void {
    const message = fromPgError(error)
    const all = status === undefined ? message : Buffer.concat([message, ready(status)])
    this.output.write(all, 0, all.length)
  }

  /** As long as nobody set it on the backend, the client's own name is what it sees. */
  #asClientSees(vector: ParameterVector): ParameterVector {
    if (this.#applicationName === undefined) return vector
    if (vector.values.get(APPLICATION_NAME) !== this.#backendsName) return vector
    return vector.with(APPLICATION_NAME, this.#applicationName)
  }
}

const NOTHING = Buffer.alloc(0)
