// Statement names of ours that no backend ever has: a message that is refused is replaced by one
// that names one of them, so that the error happens in the backend. Its words: error-names.ts.

import { Frontend } from '../../shared/pgwire/message-types.ts'
import type { BatchBuilder } from './batch-builder.ts'

const HEADER_BYTES = 5
const STATEMENT = 0x53 // S

/** Stands before a client's name that looks like one of ours. */
export const ESCAPED_PREFIX = Buffer.from('mg::')
/** By Refusal; the first is for a statement beyond the limit. */
export const REFUSED_NAMES = [
  Buffer.from('mg:!limit'),
  Buffer.from('mg:!synchronous_commit'),
  Buffer.from('mg:!multigres.pooling'),
  Buffer.from('mg:!multigres'),
  Buffer.from('mg:!channels'),
  Buffer.from('mg:!multigres.reads'),
]

/** The message at `at` fails in the backend instead, so that what came before it is undone. */
export function refuse(
  builder: BatchBuilder,
  { at, next }: { at: number; next: number },
  refusal: number,
): void {
  const name = REFUSED_NAMES[refusal] as Buffer
  const describe = Buffer.alloc(HEADER_BYTES + 2 + name.length)
  describe[0] = Frontend.Describe
  describe.writeInt32BE(describe.length - 1, 1)
  describe[HEADER_BYTES] = STATEMENT
  describe.set(name, HEADER_BYTES + 1)
  builder.replace(at, next, describe)
}
