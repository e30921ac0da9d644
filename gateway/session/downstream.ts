// The client's side of a session: what it is sent, and what it was told.

import type { PgError } from '../../shared/errors/pg-error.ts'
import { fromPgError } from '../../shared/pgwire/error-fields.ts'
import type { ClientSocket } from '../client/client-socket.ts'
import type { ParameterVector } from '../poolers/parameter-vector.ts'
import { withClientNames } from './error-names.ts'
import type { Extended } from './extended.ts'
import { Output } from './output.ts'
import { ready } from './units.ts'

export class Downstream {
  readonly output: Output
  /** The values that the client believes to hold; undefined before the first backend. */
  told: ParameterVector | undefined
  /** LexMode bits of those values. */
  lexMode = 0

  constructor(socket: ClientSocket) {
    this.output = new Output(socket)
  }

  /** The first backend's values; all of them are told to the client at its login. */
  begin(vector: ParameterVector): void {
    this.told = vector
    this.lexMode = vector.lexMode
  }

  /** Passes messages on as they are. */
  write(bytes: Buffer, start: number, end: number): void {
    this.output.write(bytes, start, end)
  }

  /** Passes messages on, of which an ErrorResponse at `errorAt` may name a shared statement. */
  writeRenamed(
    bytes: Buffer,
    range: { start: number; end: number; errorAt: number },
    extended: Extended,
  ): void {
    const { start, end, errorAt } = range
    const errorEnd = errorAt + 1 + bytes.readInt32BE(errorAt + 1)
    const renamed =
      errorEnd > end
        ? undefined
        : withClientNames(bytes, { start: errorAt, end: errorEnd }, extended)
    if (renamed === undefined) {
      this.output.write(bytes, start, end)
      return
    }
    if (errorAt > start) this.output.write(bytes, start, errorAt)
    this.output.write(renamed, 0, renamed.length)
    if (end > errorEnd) this.output.write(bytes, errorEnd, end)
  }

  /**
   * What the client must be told before a ReadyForQuery under `vector`; empty when it knows.
   * @param splits what says only which node it is on is not told.
   */
  changesTo(vector: ParameterVector, splits = false): Buffer {
    const { told } = this
    if (told === undefined || told === vector) return NOTHING
    this.begin(vector)
    return vector.changesFrom(told, splits ? OF_THE_NODE : undefined)
  }

  /** An error of our own; a ReadyForQuery with `status` follows when it is given. */
  error(error: PgError, status?: number): void {
    const message = fromPgError(error)
    const all = status === undefined ? message : Buffer.concat([message, ready(status)])
    this.output.write(all, 0, all.length)
  }
}

const NOTHING = Buffer.alloc(0)
const OF_THE_NODE: ReadonlySet<string> = new Set(['in_hot_standby', 'server_version'])
