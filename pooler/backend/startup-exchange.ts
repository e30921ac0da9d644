import { PgError } from '../../shared/errors/pg-error.ts'
import { fromPgError, sqlstateOf } from '../../shared/pgwire/error-fields.ts'
import { startup } from '../../shared/pgwire/frontend.ts'
import { HEADER_BYTES, MessageReader } from '../../shared/pgwire/message-reader.ts'
import {
  AuthenticationRequest,
  Backend as Message,
  ProtocolVersion,
} from '../../shared/pgwire/message-types.ts'
import type { PoolKey } from '../pool/pool.ts'

/** No message of a startup is larger. */
const MESSAGE_BYTES_MAX = 1024 * 1024

/** How a startup stands after some bytes. */
export type StartupProgress = 'going' | 'ready' | 'refused'

/** Startup options that cannot be a client's on a pooled backend; they are ours. */
const OWN_OPTIONS: readonly (readonly [string, string])[] = [
  // The gateway keeps this timeout for its clients; it would kill backends that idle in a pool.
  ['idle_session_timeout', '0'],
]

/** The startup packet of a backend of `key`. Protocol 3.0: every Postgres speaks it. */
export function startupPacket(key: PoolKey): Buffer {
  const own = new Set(OWN_OPTIONS.map(([name]) => name))
  const pairs = key.options.filter(([name]) => !own.has(name))
  return startup(
    [['user', key.user], ['database', key.database], ...pairs, ...OWN_OPTIONS],
    ProtocolVersion.V3_0,
  )
}

/** Follows a backend from its startup packet to its first ReadyForQuery. */
export class StartupExchange {
  readonly parameters = new Map<string, string>()
  pid = 0
  cancelKey: Buffer = Buffer.alloc(0)
  /** The ErrorResponse that ended it, whole. */
  refusal: Buffer | undefined
  readonly #reader = new MessageReader({ messageBytesMax: MESSAGE_BYTES_MAX })

  /** Bytes that came behind ReadyForQuery and were not looked at. */
  get leftOver(): number {
    return this.#reader.buffered
  }

  /** Takes what the backend sent. @throws PgError protocol_violation. */
  feed(chunk: Buffer): StartupProgress {
    const reader = this.#reader
    reader.feed(chunk)
    for (let type = reader.next(); type !== undefined; type = reader.next()) {
      switch (type) {
        case Message.Authentication:
          if (reader.int32() !== AuthenticationRequest.Ok) return this.#refuseAuthentication()
          break
        case Message.ParameterStatus:
          this.parameters.set(reader.cstring(), reader.cstring())
          break
        case Message.BackendKeyData:
          this.pid = reader.int32()
          this.cancelKey = Buffer.from(reader.rest())
          break
        case Message.ErrorResponse:
          this.refusal = Buffer.from(reader.message())
          return 'refused'
        case Message.ReadyForQuery:
          return 'ready'
        default: // notices, and NegotiateProtocolVersion of a server that knows less
      }
    }
    return 'going'
  }

  #refuseAuthentication(): StartupProgress {
    this.refusal = fromPgError(
      new PgError(
        'invalid_authorization_specification',
        'PostgreSQL asks the pooler for a password: pg_hba.conf must trust its unix socket',
        { severity: 'FATAL' },
      ),
    )
    return 'refused'
  }
}

/**
 * True when trying again cannot help: the user, the database or an option is wrong. A server that
 * starts up, shuts down or is full (57P03, 53300, ...) may answer otherwise in a moment.
 */
export function isFinalRefusal(refusal: Buffer): boolean {
  const group = sqlstateOf(refusal, HEADER_BYTES).slice(0, 2)
  return ['08', '0A', '22', '28', '3D', '3F', '42'].includes(group)
}
