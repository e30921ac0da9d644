import { ownView } from './console/own-view.ts'
import type { GatewayServer } from './server.ts'

/** Views for GET /debug/NAME: sessions, links, statements, console, traffic, hold. */
export function debugViews(server: GatewayServer): Record<string, () => unknown> {
  return {
    sessions: () =>
      [...server.sessions.values(), ...server.replications.values()].map((session) =>
        session.describe(),
      ),
    links: () => [...server.router.links.values()].map((link) => link.describe()),
    followers: () => server.followers.views(),
    statements: () => server.registry.size,
    hba: () => ({
      ...server.rules.describe(),
      sessions: [...server.connections].flatMap((connection) => connection.admitted() ?? []),
    }),
    console: () => ownView(server),
    traffic: () => server.console.samples(),
    hold: () => ({
      waiting: server.hold.waiting,
      bytes: server.hold.bytes,
      resumed: server.hold.resumed,
      expired: server.hold.expired,
    }),
  }
}
