// What the poolers know of this gateway's sessions: which backend each has, and what waits. Asked
// over HTTP when somebody wants to know, never otherwise.

import type { PoolerRecord } from '../../shared/topology/records.ts'

/** A backend, as GET /debug/backends of a pooler shows it. */
export type BackendFigure = {
  readonly pid: number
  readonly database: string
  readonly user: string
  readonly state: string
  readonly since_ms: number
  readonly age_ms?: number
  readonly retired?: boolean
  readonly pins: readonly string[]
  readonly session: number | null
  readonly owner: string | null
  readonly prepared: number
  readonly cancels: number
}

/** A session, as GET /debug/streams shows it. */
export type StreamFigure = {
  readonly gateway: string | null
  readonly session?: number
  readonly state: string
  readonly since_ms?: number
  readonly pid: number | null
  readonly pins?: readonly string[]
}

/** GET /debug/pools. */
type PoolFigures = {
  readonly backends_max: number
  readonly pools: readonly { database: string; user: string; size_max: number }[]
}

/** A gateway's link, as GET /debug/links shows it. */
export type LinkFigure = {
  readonly gateway: string
  /** By database, since the link began. */
  readonly waited_ms: Readonly<Record<string, number>>
}

/** One pooler, asked now. */
export type PoolerFigures = {
  readonly pooler: string
  readonly record: PoolerRecord
  readonly backends: readonly BackendFigure[]
  readonly streams: readonly StreamFigure[]
  readonly pools: PoolFigures
}

/** A pooler answers within this time, or its part is missing. */
const TIMEOUT_MS = 3000

/**
 * Asks each pooler. `missing` names those that did not answer, and why.
 * @param token of the secrets folder, where there is one.
 */
export async function askPoolers(
  records: Iterable<PoolerRecord>,
  token: string | undefined,
): Promise<{ figures: PoolerFigures[]; missing: string[] }> {
  const figures: PoolerFigures[] = []
  const missing: string[] = []
  const asked = [...records].map(async (record) => {
    try {
      figures.push(await askPooler(record, token))
    } catch (error) {
      missing.push(`${record.id}: ${error instanceof Error ? error.message : String(error)}`)
    }
  })
  await Promise.all(asked)
  figures.sort((left, right) => (left.pooler < right.pooler ? -1 : 1))
  return { figures, missing }
}

/** The links of one pooler. @throws Error when it does not answer */
export async function askLinks(
  record: PoolerRecord,
  token: string | undefined,
): Promise<LinkFigure[]> {
  return await get<LinkFigure[]>(record, 'links', token)
}

async function askPooler(record: PoolerRecord, token: string | undefined): Promise<PoolerFigures> {
  const [backends, streams, pools] = await Promise.all([
    get<BackendFigure[]>(record, 'backends', token),
    get<StreamFigure[]>(record, 'streams', token),
    get<PoolFigures>(record, 'pools', token),
  ])
  return { pooler: record.id, record, backends, streams, pools }
}

/** The pooler is one of ours: what it says is taken as it is. */
async function get<T>(record: PoolerRecord, view: string, token: string | undefined): Promise<T> {
  const headers: Record<string, string> =
    token === undefined ? {} : { authorization: `Bearer ${token}` }
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  const response = await fetch(`${record.http}/debug/${view}`, { headers, signal })
  if (!response.ok) throw new Error(`GET /debug/${view} answered ${response.status}`)
  return (await response.json()) as T
}
