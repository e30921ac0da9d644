// What a statement takes and gives: the types of its parameters, and of its columns the names,
// types and modifiers, as Postgres compares them when it analyses a statement anew.
//
// On the link: 16 bytes of a hash, and the parameters as they stand at a Parse message's end.
import { createHash } from 'node:crypto'
import { assert } from '../errors/assert.ts'

const HASH_BYTES = 16
/** More types than these go into the hash alone. */
const PARAMETER_BYTES_MAX = 16 * 1024
/** Behind a column's name: table and number, type, length, modifier, format. */
const COLUMN_BYTES = 18
const TYPE_AT = 6
const MODIFIER_AT = 12
const ASCII_MAX = 0x7f
const OTHER_NAME = Buffer.from([1, 0])

/** As frames carry it. Equal when the bytes are; held without a view, which would cost as much. */
export type Shape = Buffer

/**
 * The shape that Postgres describes: bodies of ParameterDescription and RowDescription, without the
 * latter of NoData. Copies.
 */
export function shapeOf(parameters: Buffer, columns: Buffer | undefined): Shape {
  const hash = createHash('sha256')
  const large = parameters.length > PARAMETER_BYTES_MAX
  if (large) hash.update(parameters)
  if (columns !== undefined) hashColumns(hash, columns)
  const digest = hash.digest().subarray(0, HASH_BYTES)
  return readShape(large ? digest : Buffer.concat([digest, parameters]))
}

/** Reads what a frame carries; copies. */
export function readShape(payload: Buffer): Shape {
  assert(payload.length >= HASH_BYTES, 'a shape has a hash')
  return Buffer.from(payload)
}

/** The end of a Parse message with the parameters of `shape`: count and types, if it has them. */
export function withParameters(parse: Buffer, textEnd: number, shape: Shape): Buffer {
  if (shape.length === HASH_BYTES) return parse
  const message = Buffer.allocUnsafeSlow(textEnd + shape.length - HASH_BYTES)
  parse.copy(message, 0, 0, textEnd)
  shape.copy(message, textEnd, HASH_BYTES)
  message.writeInt32BE(message.length - 1, 1)
  return message.equals(parse) ? parse : message
}

function hashColumns(hash: ReturnType<typeof createHash>, columns: Buffer): void {
  hash.update(columns.subarray(0, 2))
  for (let at = 2; at < columns.length;) {
    const end = columns.indexOf(0, at) + 1
    const name = columns.subarray(at, end)
    // Others stand in the encoding of the client that asked: sessions share statements without it.
    if (name.every((byte) => byte <= ASCII_MAX)) hash.update(name)
    else hash.update(OTHER_NAME)
    hash.update(columns.subarray(end + TYPE_AT, end + TYPE_AT + 4))
    hash.update(columns.subarray(end + MODIFIER_AT, end + MODIFIER_AT + 4))
    at = end + COLUMN_BYTES
  }
}
