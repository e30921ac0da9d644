// Rows on the wire, as text or in Postgres's binary formats, which some drivers ask for.

import { dataRow, rowDescription } from '../../shared/pgwire/backend.ts'
import type { FormatCode } from '../../shared/pgwire/frontend.ts'
import type { Columns, ColumnType, Row, Value } from './columns.ts'

/** OID and size of each type. */
const TYPES: Readonly<Record<ColumnType, readonly [oid: number, size: number]>> = {
  text: [25, -1],
  int4: [23, 4],
  int8: [20, 8],
  numeric: [1700, -1],
}

const INT4_MAX = 2 ** 31 - 1
const BINARY: FormatCode = 1

/** The format of the i-th column, by the rules of Bind. */
export function formatOf(formats: readonly FormatCode[], index: number): FormatCode {
  return (formats.length === 1 ? formats[0] : formats[index]) ?? 0
}

/** RowDescription. */
export function describeColumns(columns: Columns, formats: readonly FormatCode[] = []): Buffer {
  return rowDescription(
    Object.entries(columns).map(([name, type], index) => {
      const [typeOid, typeSize] = TYPES[type]
      return { name, typeOid, typeSize, format: formatOf(formats, index) }
    }),
  )
}

/** DataRow. */
export function encodeRow(columns: Columns, row: Row, formats: readonly FormatCode[] = []): Buffer {
  const values = Object.entries(columns).map(([name, type], index) => {
    const value = shaped(row[name] ?? null, type)
    if (value === null) return null
    return formatOf(formats, index) === BINARY ? binary(value, type) : Buffer.from(String(value))
  })
  return dataRow(values)
}

/** Figures are whole numbers; what does not fit an int4 is shown as the largest one. */
function shaped(value: Value, type: ColumnType): Value {
  if (typeof value !== 'number' || type === 'text') return value
  const whole = Math.round(value)
  return type === 'int4' ? Math.min(whole, INT4_MAX) : whole
}

function binary(value: string | number, type: ColumnType): Buffer {
  if (type === 'text') return Buffer.from(String(value))
  if (type === 'numeric') return binaryNumeric(BigInt(value))
  const [, size] = TYPES[type]
  const bytes = Buffer.alloc(size)
  if (type === 'int4') bytes.writeInt32BE(Number(value))
  else bytes.writeBigInt64BE(BigInt(value))
  return bytes
}

const NUMERIC_BASE = 10_000n
const NEGATIVE = 0x4000

/** Counts of digits to the base of 10,000, weight of the first, sign, scale 0, the digits. */
function binaryNumeric(value: bigint): Buffer {
  const digits: number[] = []
  for (let left = value < 0n ? -value : value; left > 0n; left /= NUMERIC_BASE) {
    digits.unshift(Number(left % NUMERIC_BASE))
  }
  const weight = Math.max(0, digits.length - 1)
  while (digits.at(-1) === 0) digits.pop() // Postgres sends none at the end
  const head = [digits.length, weight, value < 0n ? NEGATIVE : 0, 0]
  const bytes = Buffer.alloc(2 * (head.length + digits.length))
  for (const [index, word] of [...head, ...digits].entries()) bytes.writeUInt16BE(word, 2 * index)
  return bytes
}
