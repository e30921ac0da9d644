import { PgError } from '../../shared/errors/pg-error.ts'
import { close } from '../../shared/pgwire/frontend.ts'
import { HEADER_BYTES } from '../../shared/pgwire/message-reader.ts'
import { Frontend } from '../../shared/pgwire/message-types.ts'

/** A shared prepared statement, as a gateway defined it. Compared by identity. */
export class Definition {
  readonly name: string
  /** The whole Parse message, under the shared name. */
  readonly parse: Buffer
  /** The whole Close message that makes room for it. */
  readonly close: Buffer

  /**
   * Adopts `message`.
   * @throws PgError protocol_violation when it is not one named Parse.
   */
  constructor(message: Buffer) {
    const nul = message.indexOf(0, HEADER_BYTES)
    const whole = message.length >= HEADER_BYTES && message.length === 1 + message.readInt32BE(1)
    if (message[0] !== Frontend.Parse || !whole || nul <= HEADER_BYTES) {
      throw new PgError('protocol_violation', 'a definition is one named Parse message')
    }
    this.name = message.toString('utf8', HEADER_BYTES, nul)
    this.parse = message
    this.close = close({ statement: this.name })
  }
}
