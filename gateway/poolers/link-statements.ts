// The shared statements that the pooler at a link's other end knows, in no more bytes than it
// keeps.
//
// Invariants: what a frame names is defined before it, and released only behind the piece of the
// batch that it is of. The frames of a link keep their order, and the pooler holds for a batch that
// waits what it has named: so any statement may be released between two pieces.
import { definitionBytes } from '../../shared/link/definition-bytes.ts'
import { Flag, FRAME_PAYLOAD_BYTES_MAX, Kind } from '../../shared/link/frame.ts'
import type { LinkConnection } from '../../shared/link/link-connection.ts'
import type { SharedStatement } from '../statements/shared-statement.ts'

/** `used`: again since it was defined or passed over. */
type Known = { readonly statement: SharedStatement; used: boolean }

/** Room is made for as many more at once: each time the table is walked from its oldest entry. */
const SHARE_RELEASED = 1 / 32

/** Of one link, from when it opened. */
export class LinkStatements {
  readonly #connection: LinkConnection
  /** In the order in which they were defined or passed over. */
  readonly #known = new Map<number, Known>()
  #bytes = 0

  constructor(connection: LinkConnection) {
    this.#connection = connection
  }

  get count(): number {
    return this.#known.size
  }

  /** By `definitionBytes`. */
  get bytes(): number {
    return this.#bytes
  }

  /** The statement of an id, if the pooler knows it. */
  get(id: number): SharedStatement | undefined {
    return this.#known.get(id)?.statement
  }

  /** Makes sure that the pooler knows a statement before an operation names it. */
  define(statement: SharedStatement): void {
    const known = this.#known.get(statement.id)
    if (known !== undefined) {
      known.used = true
      return
    }
    const { definition, id } = statement
    this.#known.set(id, { statement, used: false })
    this.#bytes += definitionBytes(definition.length)
    const shaped = statement.shaped ? Flag.Shaped : 0
    for (let at = 0; at < definition.length; at += FRAME_PAYLOAD_BYTES_MAX) {
      const end = Math.min(definition.length, at + FRAME_PAYLOAD_BYTES_MAX)
      const flags = end === definition.length ? Flag.Boundary : 0
      this.#connection.send(Kind.Define, 0, flags | shaped, 0, 0, id, definition, at, end)
    }
    this.tellShape(statement)
  }

  /** What a statement was when it was first prepared, if that is known. */
  tellShape({ id, shape }: SharedStatement): void {
    if (shape !== undefined) this.#connection.send(Kind.Shape, 0, 0, 0, 0, id, shape)
  }

  /** No session uses the statement any more. */
  release(id: number): void {
    const known = this.#known.get(id)
    if (known !== undefined) this.#release(known.statement)
  }

  /** Between two pieces: releases what was not named for long, while there is too much. */
  trim(): void {
    const { definitionsBytesMax: bytesMax } = this.#connection
    if (this.#bytes <= bytesMax || bytesMax === 0) return
    const goal = bytesMax * (1 - SHARE_RELEASED)
    for (const [id, known] of this.#known) {
      if (known.used) {
        known.used = false
        this.#known.delete(id)
        this.#known.set(id, known)
      } else {
        this.#release(known.statement)
        if (this.#bytes <= goal) return
      }
    }
  }

  #release({ id, definition }: SharedStatement): void {
    this.#known.delete(id)
    this.#bytes -= definitionBytes(definition.length)
    this.#connection.send(Kind.Release, 0, 0, 0, 0, id)
  }
}
