// Sessions and backends of one moment, joined: what several of the tables are made of.

import { wallTimeMs } from '../../shared/time/clock.ts'
import type { PoolerRecord } from '../../shared/topology/records.ts'
import type { SessionView } from '../session/session-view.ts'
import type { GatewayServer } from '../server.ts'
import {
  askPoolers,
  type BackendFigure,
  type PoolerFigures,
  type StreamFigure,
} from './pooler-figures.ts'

/** A backend and where it is. */
export type Server = {
  readonly figures: PoolerFigures
  readonly backend: BackendFigure
  /** The session of ours that has it. */
  readonly client: Client | undefined
}

/** A session of this gateway. */
export type Client = {
  readonly number: number
  readonly view: SessionView
  readonly ageMs: number
  readonly state: 'active' | 'idle' | 'waiting'
  /** How long its batch has been under way or has waited; 0 at rest. */
  readonly waitMs: number
  readonly stream: StreamFigure | undefined
  readonly replication: 'none' | 'physical' | 'logical'
  /** `host:port` of the gateway's side, and what secures it. */
  readonly local: string
  readonly tls: string
}

/** What was seen. */
export type Picture = {
  readonly atMs: number
  readonly clients: readonly Client[]
  readonly servers: readonly Server[]
  readonly figures: readonly PoolerFigures[]
  /** Poolers that were not heard: their backends are missing above. */
  readonly missing: readonly string[]
}

/** Asks the poolers that this gateway has links to, and looks at its own sessions. */
export async function takePicture(
  server: GatewayServer,
  token: string | undefined,
): Promise<Picture> {
  const { figures, missing } = await askPoolers(linkedPoolers(server), token)
  const clients = lookAtClients(server, streamsOf(server.limits.id, figures))
  const byNumber = new Map(clients.map((client) => [client.number, client]))
  const servers = figures.flatMap((one) =>
    one.backends.map((backend) => ({
      figures: one,
      backend,
      client: backend.session === null ? undefined : byNumber.get(backend.session),
    })),
  )
  return { atMs: wallTimeMs(), clients, servers, figures, missing }
}

/** The poolers that this gateway has links to. */
export function linkedPoolers({ router, directory }: GatewayServer): PoolerRecord[] {
  const linked = [...router.links.values()].filter(({ connection }) => connection !== undefined)
  return linked.flatMap(({ id }) => directory.poolers.get(id)?.record ?? [])
}

/** The streams of this gateway's sessions, by session. */
function streamsOf(
  gateway: string,
  figures: readonly PoolerFigures[],
): ReadonlyMap<number, StreamFigure> {
  const streams = new Map<number, StreamFigure>()
  for (const stream of figures.flatMap((one) => one.streams)) {
    if (stream.gateway !== gateway || stream.session === undefined) continue
    streams.set(stream.session, stream)
  }
  return streams
}

function lookAtClients(
  server: GatewayServer,
  streams: ReadonlyMap<number, StreamFigure>,
): Client[] {
  const sockets = new Map<number, { local: string; tls: string }>()
  for (const { session, local, tls } of server.connections) {
    if (session !== undefined) sockets.set(session.number, { local, tls })
  }
  const clients: Client[] = []
  const look = (session: Looked, replication: Client['replication']): void => {
    const { number, ageMs } = session
    const view = session.view()
    const stream = streams.get(number)
    const socket = sockets.get(number) ?? { local: '', tls: '' }
    const stands = standing(view, stream)
    clients.push({ number, ageMs, view, stream, replication, ...stands, ...socket })
  }
  for (const session of server.sessions.values()) look(session, 'none')
  for (const session of server.replications.values()) look(session, session.kind)
  return clients
}

type Looked = { readonly number: number; readonly ageMs: number; view(): SessionView }

/** What PgBouncer would call it, and for how long. */
function standing(
  view: SessionView,
  stream: StreamFigure | undefined,
): Pick<Client, 'state' | 'waitMs'> {
  if (view.waitingMs !== undefined) return { state: 'waiting', waitMs: view.waitingMs }
  if (!view.running) return { state: view.free ? 'idle' : 'active', waitMs: 0 }
  const waitMs = view.requestAgoMs ?? 0
  return { state: stream?.state === 'waiting' ? 'waiting' : 'active', waitMs }
}
