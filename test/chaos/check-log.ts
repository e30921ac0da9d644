// Checks the logs: each has one writer, who counts upwards, so a read of the newest numbers says
// which writes were in force. What must be there: all that was acknowledged, and all that somebody
// has read, before the read began.
import { type Anomaly, type LogRead, type LogWrite, ofKind, type Operation } from './history.ts'

type Required = { readonly value: number; readonly why: 'acknowledged' | 'read' }

/** Every contradiction, the log's number in its text. */
export function checkLogs(history: readonly Operation[]): Anomaly[] {
  const writes = Map.groupBy(ofKind(history, 'write'), ({ key }) => key)
  const reads = Map.groupBy(ofKind(history, 'read'), ({ key }) => key)
  return [...reads].flatMap(([key, ofKey]) => checkLog(key, writes.get(key) ?? [], ofKey))
}

function checkLog(key: number, writes: readonly LogWrite[], reads: readonly LogRead[]): Anomaly[] {
  const byValue = new Map(writes.map((write) => [write.value, write]))
  const facts = factsOf(writes, reads)
  const required = new Map<number, Required['why']>()
  const anomalies: Anomaly[] = []
  const told = new Set<number>() // one loss is one anomaly, however often it is read
  let next = 0
  for (const read of reads.toSorted((a, b) => a.invokedMs - b.invokedMs)) {
    for (let fact = facts[next]; fact !== undefined; fact = facts[next]) {
      if (fact.atMs >= read.invokedMs) break
      for (const value of fact.values) required.set(value, fact.why)
      next += 1
    }
    anomalies.push(...strange(key, read, byValue))
    anomalies.push(...missing({ key, read, required, told }))
  }
  return anomalies
}

type Fact = {
  readonly atMs: number
  readonly values: readonly number[]
  readonly why: Required['why']
}

/** What is known to be in force from which moment on, in order of time. */
function factsOf(writes: readonly LogWrite[], reads: readonly LogRead[]): Fact[] {
  const acknowledged = writes
    .filter(({ outcome }) => outcome === 'ok')
    .map(({ value, endedMs }): Fact => ({ atMs: endedMs, values: [value], why: 'acknowledged' }))
  const seen = reads.map(({ values, endedMs }): Fact => ({ atMs: endedMs, values, why: 'read' }))
  return [...acknowledged, ...seen].toSorted((a, b) => a.atMs - b.atMs)
}

/** What nobody wrote, or not yet, or what was refused. */
function strange(key: number, read: LogRead, byValue: Map<number, LogWrite>): Anomaly[] {
  return read.values.flatMap((value) => {
    const write = byValue.get(value)
    const detail = `${value} of log ${key}, read by ${read.client} at ${read.endedMs.toFixed(1)}`
    if (write === undefined) return { what: 'read what nobody wrote', detail }
    if (write.invokedMs > read.endedMs) return { what: 'read before it was written', detail }
    if (write.outcome === 'failed') return { what: 'read a write that failed', detail }
    return []
  })
}

function missing(options: {
  key: number
  read: LogRead
  required: Map<number, Required['why']>
  told: Set<number>
}): Anomaly[] {
  const { key, read, required, told } = options
  const there = new Set(read.values)
  const greatest = read.values[0] ?? -Infinity
  const least = read.whole ? -Infinity : (read.values.at(-1) ?? Infinity)
  const anomalies: Anomaly[] = []
  for (const [value, why] of required) {
    if (value < least) {
      required.delete(value) // the window has passed it
      continue
    }
    if (there.has(value) || told.has(value)) continue
    told.add(value)
    // Numbers above all that was read are newer than the read; others are holes for ever.
    const older = value > greatest
    const what = older ? 'stale read' : why === 'read' ? 'read and gone again' : 'lost write'
    const detail =
      `${value} of log ${key} was ${why}, but ${read.client} at ` +
      `${read.invokedMs.toFixed(1)}..${read.endedMs.toFixed(1)} read up to ${greatest}`
    anomalies.push({ what, detail })
  }
  return anomalies
}

/**
 * Compares all that a leader holds with what was acknowledged or read before: nothing may be
 * missing, nothing refused be there. `held` are the numbers by log.
 */
export function checkHeld(
  history: readonly Operation[],
  held: ReadonlyMap<number, ReadonlySet<number>>,
  holder: string,
): Anomaly[] {
  const anomalies: Anomaly[] = []
  const has = (key: number, value: number): boolean => held.get(key)?.has(value) === true
  for (const { key, value, outcome } of ofKind(history, 'write')) {
    const detail = `${value} of log ${key} on ${holder}`
    if (outcome === 'ok' && !has(key, value)) anomalies.push({ what: 'lost write', detail })
    if (outcome === 'failed' && has(key, value)) {
      anomalies.push({ what: 'a write that failed is there', detail })
    }
  }
  const gone = new Set<string>()
  for (const { key, values } of ofKind(history, 'read')) {
    for (const value of values)
      if (!has(key, value)) gone.add(`${value} of log ${key} on ${holder}`)
  }
  return [...anomalies, ...[...gone].map((detail) => ({ what: 'read and gone again', detail }))]
}
