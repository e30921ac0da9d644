import { PgError } from '../../shared/errors/pg-error.ts'
import { readShape } from '../../shared/link/shape.ts'
import { Definition } from '../backend/definition.ts'

/**
 * Bytes of shared statements over which a link is cut. A gateway keeps to --statement-cache after
 * each piece of a batch; one piece alone may need what a client has prepared in all.
 */
const DEFINITIONS_BYTES_MAX = 1024 * 1024 * 1024

/**
 * The shared statements that a gateway defined on its link, and may name. It releases what it has
 * not named for long, and defines it again when it needs it: frames keep their order, so that the
 * two always mean the same. What a batch that waits has named is held by that (held-frames.ts).
 */
export class DefinitionTable {
  readonly definitions = new Map<number, Definition>()
  /** Of their Parse messages, as they came. */
  bytes = 0
  readonly #limits: { readonly messageBytesMax: number }
  readonly #parts = new Map<number, Buffer[]>()

  constructor(limits: { readonly messageBytesMax: number }) {
    this.#limits = limits
  }

  /**
   * Takes one piece of statement `id`'s Parse message; copies it.
   * @throws PgError program_limit_exceeded, protocol_violation.
   */
  define(id: number, piece: Buffer, last: boolean, shaped = false): void {
    const parts = this.#parts.get(id) ?? []
    parts.push(Buffer.from(piece))
    this.bytes += piece.length
    const bytes = parts.reduce((sum, part) => sum + part.length, 0)
    if (this.bytes > DEFINITIONS_BYTES_MAX || bytes > this.#limits.messageBytesMax) {
      throw new PgError('program_limit_exceeded', 'link: too many bytes of prepared statements')
    }
    if (!last) {
      this.#parts.set(id, parts)
      return
    }
    this.#parts.delete(id)
    this.#forget(id)
    const [first, ...more] = parts as [Buffer, ...Buffer[]]
    const message = more.length === 0 ? first : Buffer.concat(parts)
    this.definitions.set(id, new Definition(message, id, shaped))
  }

  /** The gateway will not name `id` again. */
  release(id: number): void {
    this.#forget(id)
    this.definitions.delete(id)
  }

  /** What statement `id` was when it was first prepared, here or elsewhere. */
  shape(id: number, payload: Buffer): void {
    this.definitions.get(id)?.keep(readShape(payload))
  }

  #forget(id: number): void {
    this.bytes -= this.definitions.get(id)?.bytes ?? 0
  }
}
