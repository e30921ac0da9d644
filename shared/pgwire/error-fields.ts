import type { PgError } from '../errors/pg-error.ts'
import { Backend } from './message-types.ts'
import type { MessageReader } from './message-reader.ts'
import { MessageWriter } from './message-writer.ts'

const out = new MessageWriter()

/**
 * Field of ErrorResponse and NoticeResponse -> its type byte, in the order in which Postgres sends
 * them. Source: PostgreSQL manual, "Error and Notice Message Fields".
 */
const FIELD_TYPES = {
  severity: 'S',
  severityNonLocalized: 'V',
  code: 'C',
  message: 'M',
  detail: 'D',
  hint: 'H',
  position: 'P',
  internalPosition: 'p',
  internalQuery: 'q',
  where: 'W',
  schema: 's',
  table: 't',
  column: 'c',
  dataType: 'd',
  constraint: 'n',
  file: 'F',
  line: 'L',
  routine: 'R',
} as const
type FieldName = keyof typeof FIELD_TYPES

const FIELDS = Object.entries(FIELD_TYPES) as [FieldName, string][]
const FIELD_NAMES = new Map<number, FieldName>(
  FIELDS.map(([name, type]) => [type.charCodeAt(0), name]),
)

/** What an error or notice says, by the manual's names. All of a backend's are texts. */
export type ErrorFields = { [Name in FieldName]?: string } & {
  severity: string
  /** The SQLSTATE. */
  code: string
  message: string
}

/** Told apart from a backend's own errors by this, where a routine of Postgres would stand. */
const OWN_ROUTINE = 'multigres'

/**
 * Reads the current message of `reader`, an ErrorResponse or NoticeResponse. Field types this
 * program does not know are left out, as the manual asks.
 * @throws PgError protocol_violation when a field lacks its end.
 */
export function decodeErrorFields(reader: MessageReader): ErrorFields {
  const fields: ErrorFields = { severity: '', code: '', message: '' }
  for (let type = reader.uint8(); type !== 0; type = reader.uint8()) {
    const name = FIELD_NAMES.get(type)
    const text = reader.cstring()
    if (name !== undefined) fields[name] = text
  }
  reader.expectEnd()
  return fields
}

/**
 * The SQLSTATE in the body of an ErrorResponse or NoticeResponse, found without reading the rest;
 * '' when there is none.
 * @param start first byte of the body in `bytes`.
 * @param end one past the body.
 */
export function sqlstateOf(bytes: Buffer, start: number, end: number = bytes.length): string {
  const at = errorFieldAt(bytes, { start, end }, 'C')
  return at < 0 || at + 5 > end ? '' : bytes.toString('latin1', at, at + 5)
}

/**
 * Where the value of field `type` (one letter) starts in an ErrorResponse's or NoticeResponse's
 * body, which lies in `bytes` at `range`; -1 without such a field. It ends with a NUL.
 */
export function errorFieldAt(
  bytes: Buffer,
  range: { start: number; end: number },
  type: string,
): number {
  const wanted = type.charCodeAt(0)
  let at = range.start
  while (at < range.end && bytes[at] !== 0) {
    if (bytes[at] === wanted) return at + 1
    const nul = bytes.indexOf(0, at + 1)
    if (nul < 0) return -1
    at = nul + 1
  }
  return -1
}

/** ErrorResponse with these fields, in Postgres's order. NULs in texts are dropped. */
export function errorResponse(fields: ErrorFields): Buffer {
  return encodeFields(Backend.ErrorResponse, fields)
}

/** NoticeResponse with these fields. */
export function noticeResponse(fields: ErrorFields): Buffer {
  return encodeFields(Backend.NoticeResponse, fields)
}

/** The ErrorResponse that tells a frontend of one of our own errors. */
export function fromPgError(error: PgError): Buffer {
  return errorResponse({
    severity: error.severity,
    severityNonLocalized: error.severity,
    code: error.sqlstate,
    message: error.message,
    ...(error.detail === undefined ? {} : { detail: error.detail }),
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    routine: OWN_ROUTINE,
  })
}

function encodeFields(type: number, fields: ErrorFields): Buffer {
  out.begin(type)
  for (const [name, letter] of FIELDS) {
    const text = fields[name]
    if (text !== undefined) out.text(letter).cstring(text.replaceAll('\0', ''))
  }
  return out.uint8(0).finish()
}
