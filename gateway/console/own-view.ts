// What a gateway says of itself to the console of another, as JSON of GET /debug/console.

import type { GatewayServer } from '../server.ts'
import type { SessionView } from '../session/session-view.ts'

/** A session of one gateway, without what only the poolers know. */
export type OwnClient = {
  readonly gateway: string
  readonly number: number
  readonly view: SessionView
  readonly ageMs: number
  readonly replication: 'none' | 'physical' | 'logical'
  /** `host:port` of the gateway's side, and what secures it. */
  readonly local: string
  readonly tls: string
}

/** A client of the console. */
export type OwnConsole = {
  readonly gateway: string
  readonly number: number
  readonly user: string
  readonly client: string
  /** Wall clock. */
  readonly sinceMs: number
}

/** All of it. */
export type OwnView = {
  readonly gateway: string
  readonly clients: readonly OwnClient[]
  readonly consoles: readonly OwnConsole[]
  /** Connections of all kinds, of those that are not in yet too. */
  readonly connections: number
}

/** This gateway at this moment. */
export function ownView(server: GatewayServer): OwnView {
  const gateway = server.limits.id
  const sockets = new Map<number, { local: string; tls: string }>()
  for (const { session, local, tls } of server.connections) {
    if (session !== undefined) sockets.set(session.number, { local, tls })
  }
  const clients: OwnClient[] = []
  const look = (session: Looked, replication: OwnClient['replication']): void => {
    const { number, ageMs } = session
    const socket = sockets.get(number) ?? { local: '', tls: '' }
    clients.push({ gateway, number, ageMs, view: session.view(), replication, ...socket })
  }
  for (const session of server.sessions.values()) look(session, 'none')
  for (const session of server.replications.values()) look(session, session.kind)
  const consoles = [...server.console.sessions].map(({ number, user, client, sinceMs }) => {
    return { gateway, number, user, client, sinceMs }
  })
  return { gateway, clients, consoles, connections: server.connections.size }
}

type Looked = { readonly number: number; readonly ageMs: number; view(): SessionView }
