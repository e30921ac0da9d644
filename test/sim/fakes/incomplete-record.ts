// Stands in for pooler/replication/incomplete-record.ts: simulated records come whole or not at all.
import type { WalEnd } from '../../../pooler/replication/prefix-proof.ts'

/** As the real one. */
export function endOfRecords(_session: unknown, { lsn }: WalEnd) {
  return Promise.resolve({ lsn, overhangs: false })
}
