// Sessions and backends of one moment, joined: what several of the tables are made of. Sessions are
// of this gateway, or of all.

import { wallTimeMs } from '../../shared/time/clock.ts'
import type { PoolerRecord } from '../../shared/topology/records.ts'
import type { SessionView } from '../session/session-view.ts'
import type { GatewayServer } from '../server.ts'
import { ownView, type OwnClient, type OwnConsole, type OwnView } from './own-view.ts'
import { askPeers } from './peers.ts'
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

/** A session of a gateway. */
export type Client = OwnClient & {
  readonly state: 'active' | 'idle' | 'waiting'
  /** How long its batch has been under way or has waited; 0 at rest. */
  readonly waitMs: number
  readonly stream: StreamFigure | undefined
}

/** What was seen. */
export type Picture = {
  readonly atMs: number
  readonly clients: readonly Client[]
  readonly servers: readonly Server[]
  readonly figures: readonly PoolerFigures[]
  readonly consoles: readonly OwnConsole[]
  /** Connections of the gateways that are seen. */
  readonly connections: number
  /** Poolers that were not heard: their backends are missing above. */
  readonly missing: readonly string[]
  /** Gateways that were not heard: their clients are missing. */
  readonly silent: readonly string[]
}

/** Whom a picture is of: this gateway alone, or with all others. */
export type Scope = 'own' | 'all'

/** Asks the poolers that this gateway has links to, and looks at sessions: its own, or all. */
export async function takePicture(
  server: GatewayServer,
  token: string | undefined,
  scope: Scope = 'own',
): Promise<Picture> {
  const nobody = { views: [], missing: [] }
  const [{ figures, missing }, peers] = await Promise.all([
    askPoolers(linkedPoolers(server), token),
    scope === 'all' ? askPeers<OwnView>(server, 'console', token) : nobody,
  ])
  const views = [ownView(server), ...peers.views]
  const streams = streamsOf(figures)
  const clients = views.flatMap((view) => view.clients).map((own) => withStream(own, streams))
  const byNumber = new Map(clients.map((client) => [client.number, client]))
  const servers = figures.flatMap((one) =>
    one.backends.map((backend) => ({
      figures: one,
      backend,
      client: backend.session === null ? undefined : byNumber.get(backend.session),
    })),
  )
  return {
    atMs: wallTimeMs(),
    clients,
    servers,
    figures,
    consoles: views.flatMap((view) => view.consoles),
    connections: views.reduce((sum, view) => sum + view.connections, 0),
    missing,
    silent: peers.missing,
  }
}

/** The poolers that this gateway has links to. */
export function linkedPoolers({ router, directory }: GatewayServer): PoolerRecord[] {
  const linked = [...router.links.values()].filter(({ connection }) => connection !== undefined)
  return linked.flatMap(({ id }) => directory.poolers.get(id)?.record ?? [])
}

/** Streams by gateway and session. */
type Streams = ReadonlyMap<string, StreamFigure>

function streamsOf(figures: readonly PoolerFigures[]): Streams {
  const streams = new Map<string, StreamFigure>()
  for (const stream of figures.flatMap((one) => one.streams)) {
    if (stream.gateway === null || stream.session === undefined) continue
    streams.set(`${stream.gateway}/${stream.session}`, stream)
  }
  return streams
}

function withStream(own: OwnClient, streams: Streams): Client {
  const stream = streams.get(`${own.gateway}/${own.number}`)
  return { ...own, stream, ...standing(own.view, stream) }
}

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
