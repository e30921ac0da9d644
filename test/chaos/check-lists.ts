// Checks transactions that append to lists and read them, at SERIALIZABLE. A list tells the order
// of its appends, and so how transactions depend on each other; there must be no cycle. Also per
// list, in real time: a read begun after an append was acknowledged has it.
import { findCycles, type Edge } from './cycles.ts'
import { type Anomaly, type ListTransaction, ofKind, type Operation } from './history.ts'

type Index = {
  readonly transactions: readonly ListTransaction[]
  /** Who appended a value; values are unique in the whole history. */
  readonly appender: ReadonlyMap<number, ListTransaction>
  /** The longest version of each list that anybody read. */
  readonly longest: ReadonlyMap<number, readonly number[]>
}

/** Every contradiction. Read all lists once more at the end, so that losses show. */
export function checkLists(history: readonly Operation[]): Anomaly[] {
  const transactions = ofKind(history, 'lists')
  const index = indexOf(transactions)
  return [
    ...versions(index),
    ...aborted(index),
    ...intermediate(index),
    ...realTime(index),
    ...findCycles(edgesOf(index)).map((cycle) => ({ what: 'cycle', detail: cycle })),
  ]
}

function indexOf(transactions: readonly ListTransaction[]): Index {
  const appender = new Map<number, ListTransaction>()
  const longest = new Map<number, readonly number[]>()
  for (const transaction of transactions) {
    for (const step of transaction.steps) {
      if (step.kind === 'append') appender.set(step.value, transaction)
    }
    for (const { key, values } of readsOf(transaction)) {
      if (values.length >= (longest.get(key)?.length ?? 0)) longest.set(key, values)
    }
  }
  return { transactions, appender, longest }
}

type ListRead = { readonly key: number; readonly values: readonly number[] }

/** The reads of one that was committed; what others saw proves nothing. */
function readsOf({ outcome, steps }: ListTransaction): ListRead[] {
  if (outcome !== 'ok') return []
  return steps.flatMap((step) => {
    if (step.kind !== 'read' || step.values === undefined) return []
    return { key: step.key, values: step.values }
  })
}

const allReads = ({ transactions }: Index): (ListRead & { by: ListTransaction })[] =>
  transactions.flatMap((by) => readsOf(by).map((read) => ({ ...read, by })))

/** All versions of one list are beginnings of the longest one, without repetition. */
function versions(index: Index): Anomaly[] {
  return allReads(index).flatMap(({ key, values, by }) => {
    const longest = index.longest.get(key) ?? []
    const detail = `list ${key} read by ${by.client} at ${by.endedMs.toFixed(1)}`
    const twice = new Set(values).size !== values.length
    if (twice) return { what: 'appended twice', detail }
    const differs = values.findIndex((value, at) => longest[at] !== value)
    if (differs < 0) return []
    const what = `${values[differs]} stands where another read ${longest[differs]}`
    return { what: 'lists of different order', detail: `${detail}: ${what}` }
  })
}

function aborted(index: Index): Anomaly[] {
  return allReads(index).flatMap(({ key, values, by }) =>
    values.flatMap((value) => {
      const from = index.appender.get(value)
      const detail = `${value} of list ${key}, read by ${by.client} at ${by.endedMs.toFixed(1)}`
      if (from === undefined) return { what: 'read what nobody appended', detail }
      if (from.outcome === 'failed') return { what: 'read an append that failed', detail }
      return from.invokedMs > by.endedMs ? { what: 'read before it was appended', detail } : []
    }),
  )
}

/** A read that ends in the middle of another transaction's appends. */
function intermediate(index: Index): Anomaly[] {
  return allReads(index).flatMap(({ key, values, by }) => {
    const last = values.at(-1)
    const from = last === undefined ? undefined : index.appender.get(last)
    if (from === undefined || from === by) return []
    const own = from.steps.filter((step) => step.kind === 'append' && step.key === key)
    const final = own.at(-1)
    if (final === undefined || final.kind !== 'append' || final.value === last) return []
    return { what: 'read the middle of a transaction', detail: `${last} of list ${key}` }
  })
}

function realTime(index: Index): Anomaly[] {
  const anomalies: Anomaly[] = []
  const reads = Map.groupBy(allReads(index), ({ key }) => key)
  for (const by of index.transactions) {
    if (by.outcome !== 'ok') continue
    for (const step of by.steps) {
      if (step.kind !== 'append') continue
      const late = reads.get(step.key)?.find((read) => {
        return read.by.invokedMs > by.endedMs && !read.values.includes(step.value)
      })
      if (late === undefined) continue
      const inTheEnd = index.longest.get(step.key)?.includes(step.value) === true
      const detail = `${step.value} of list ${step.key}, read by ${late.by.client}`
      anomalies.push({ what: inTheEnd ? 'stale read' : 'lost append', detail })
    }
  }
  return anomalies
}

/** Who comes before whom: by appends to one list, by reading them, by not having read them yet. */
function edgesOf(index: Index): Edge<ListTransaction>[] {
  const edges: Edge<ListTransaction>[] = []
  const add = (from: ListTransaction | undefined, to: ListTransaction | undefined, why: string) => {
    if (from !== undefined && to !== undefined && from !== to) edges.push({ from, to, why })
  }
  for (const list of index.longest.values()) {
    list.forEach((value, at) => {
      const after = list[at + 1]
      if (after !== undefined) add(index.appender.get(value), index.appender.get(after), 'ww')
    })
  }
  for (const { key, values, by } of allReads(index)) {
    const last = values.at(-1)
    if (last !== undefined) add(index.appender.get(last), by, 'wr')
    const unread = index.longest.get(key)?.[values.length]
    if (unread !== undefined) add(by, index.appender.get(unread), 'rw')
  }
  return edges
}
