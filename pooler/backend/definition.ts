import { PgError } from '../../shared/errors/pg-error.ts'
import { withParameters, type Shape } from '../../shared/link/shape.ts'
import { close, describe } from '../../shared/pgwire/frontend.ts'
import { HEADER_BYTES } from '../../shared/pgwire/message-reader.ts'
import { Frontend } from '../../shared/pgwire/message-types.ts'

/**
 * A shared prepared statement, as a gateway defined it. There may be tens of thousands: it holds
 * its Parse message, and makes what else it needs of that.
 */
export class Definition {
  readonly name: string
  /** The whole Parse message, under the shared name. */
  parse: Buffer
  /** Length of the message as it came. */
  readonly bytes: number
  /** The gateway's number of it. */
  readonly id: number
  /** What it gives must stay as it was when it was first prepared. */
  readonly shaped: boolean
  /** That, once it is known. */
  shape: Shape | undefined

  /**
   * Adopts `message`.
   * @throws PgError protocol_violation when it is not one named Parse.
   */
  constructor(message: Buffer, id = 0, shaped = false) {
    const nul = message.indexOf(0, HEADER_BYTES)
    const whole = message.length >= HEADER_BYTES && message.length === 1 + message.readInt32BE(1)
    if (message[0] !== Frontend.Parse || !whole || nul <= HEADER_BYTES) {
      throw new PgError('protocol_violation', 'a definition is one named Parse message')
    }
    this.name = message.toString('utf8', HEADER_BYTES, nul)
    this.parse = message
    this.bytes = message.length
    this.id = id
    this.shaped = shaped && !followsOthers(message, nul + 1)
  }

  /**
   * It was `shape` when it was first prepared. From here on its parameters have the types that they
   * had then, as Postgres analyses a statement anew.
   */
  keep(shape: Shape): void {
    this.shape = shape
    const textEnd = this.parse.indexOf(0, this.parse.indexOf(0, HEADER_BYTES) + 1) + 1
    this.parse = withParameters(this.parse, textEnd, shape)
  }

  /** The whole Close message that makes room for it. */
  get close(): Buffer {
    return close({ statement: this.name })
  }

  get describe(): Buffer {
    return describe({ statement: this.name })
  }

  /** A gateway defines a statement again that it had released: it is what it was. */
  equals(other: Definition): boolean {
    if (this === other) return true
    if (this.name !== other.name || this.shaped !== other.shaped) return false
    const same = (this.shape ?? NO_SHAPE).equals(other.shape ?? NO_SHAPE)
    return same && this.parse.equals(other.parse)
  }
}

const NO_SHAPE = Buffer.alloc(0)
/** Longer comments in front of a text are not looked past. */
const BEGINNING_BYTES = 1024
const COMMENTS = '(?:\\s|--[^\\n\\r]*[\\n\\r]|/\\*(?:[^*]|\\*(?!/))*\\*/)*'
const OTHERS = new RegExp(`^${COMMENTS}(?:fetch|move|execute|show)\\b`, 'i')

/** What it gives is another thing's, each time: Postgres does not compare it either. */
function followsOthers(message: Buffer, start: number): boolean {
  return OTHERS.test(message.toString('latin1', start, start + BEGINNING_BYTES))
}
