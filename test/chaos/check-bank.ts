// Checks the bank: money is neither made nor lost in any snapshot, every account is what its
// transfers say, and no transfer that was acknowledged or read is missing from a later snapshot.
import { type Anomaly, ofKind, type Operation } from './history.ts'

/** Every contradiction; `total` is what all accounts began with. */
export function checkBank(history: readonly Operation[], total: number): Anomaly[] {
  const audits = ofKind(history, 'audit').toSorted((a, b) => a.invokedMs - b.invokedMs)
  const transfers = ofKind(history, 'transfer')
  const known = new Map(transfers.map((transfer) => [transfer.id, transfer]))
  const anomalies: Anomaly[] = []
  const told = new Set<string>()
  for (const audit of audits) {
    const when = `${audit.client} at ${audit.endedMs.toFixed(1)}`
    if (audit.total !== total) {
      anomalies.push({ what: 'wrong total', detail: `${audit.total} read by ${when}` })
    }
    if (audit.off !== 0) {
      anomalies.push({ what: 'half a transfer', detail: `off by ${audit.off}, read by ${when}` })
    }
    for (const { id, outcome, endedMs } of transfers) {
      const before = outcome === 'ok' && endedMs < audit.invokedMs
      if (before && !audit.transfers.has(id) && !told.has(id)) {
        told.add(id)
        anomalies.push({ what: 'lost transfer', detail: `${id}, missed by ${when}` })
      }
    }
    for (const id of audit.transfers) {
      if (known.get(id)?.outcome === 'ok' || known.get(id)?.outcome === 'unknown') continue
      anomalies.push({ what: 'a transfer that failed is there', detail: `${id}, read by ${when}` })
    }
  }
  return [...anomalies, ...vanished(audits)]
}

function vanished(audits: readonly Extract<Operation, { kind: 'audit' }>[]): Anomaly[] {
  const last = audits.at(-1)
  if (last === undefined) return []
  const gone = new Set<string>()
  for (const audit of audits) {
    if (audit.endedMs >= last.invokedMs) continue
    for (const id of audit.transfers) if (!last.transfers.has(id)) gone.add(id)
  }
  return [...gone].map((id) => ({ what: 'read and gone again', detail: `transfer ${id}` }))
}
