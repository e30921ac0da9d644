// The reported values of backends, interned over all links of this gateway: "does this client know
// them already?" is one comparison of two references.

import { parameterStatus } from '../../shared/pgwire/backend.ts'
import { LexMode } from '../session/sql-lexer.ts'
import { reachesTemp } from '../session/temp-path.ts'

let lastId = 0

/** One full set of reported values. Equal ones are the same object while both are in use. */
export class ParameterVector {
  readonly values: ReadonlyMap<string, string>
  /** Tells it from all others of this process. */
  readonly id = ++lastId
  /** How texts are read under these values: LexMode bits. */
  readonly lexMode: number
  /** What writes may make temporary objects. Reported since PostgreSQL 18. */
  readonly reachesTemp: boolean

  constructor(values: ReadonlyMap<string, string>) {
    this.values = values
    this.reachesTemp = reachesTemp(values)
    const encoding = values.get('client_encoding') ?? 'UTF8'
    this.lexMode =
      (values.get('standard_conforming_strings') === 'off' ? LexMode.Backslash : 0) |
      (MULTI_BYTE.has(encoding) ? LexMode.MultiByte : 0) |
      (encoding === 'UTF8' ? LexMode.Utf8 : 0)
  }

  /** What a client that was told `before` must be told, as ParameterStatus messages. */
  changesFrom(before: ParameterVector, except?: ReadonlySet<string>): Buffer {
    const messages: Buffer[] = []
    for (const [name, value] of this.values) {
      if (except?.has(name) === true) continue
      if (before.values.get(name) !== value) messages.push(parameterStatus(name, value))
    }
    return Buffer.concat(messages)
  }
}

/**
 * Client encodings with ASCII bytes inside of characters: the server takes none of these itself.
 */
const MULTI_BYTE: ReadonlySet<string> = new Set([
  'SJIS',
  'SHIFT_JIS_2004',
  'BIG5',
  'GBK',
  'UHC',
  'GB18030',
  'JOHAB',
])

/** Vectors kept for sharing; past it sharing starts anew, which costs comparisons and no more. */
const VECTORS_MAX = 4096
const interned = new Map<string, ParameterVector>()

/** The vector of a PARAMETERS frame: JSON of `[[name, value], ...]`. @throws SyntaxError */
export function intern(json: string): ParameterVector {
  const known = interned.get(json)
  if (known !== undefined) return known
  if (interned.size >= VECTORS_MAX) interned.clear()
  const vector = new ParameterVector(new Map(JSON.parse(json) as [string, string][]))
  interned.set(json, vector)
  return vector
}
