// A gateway without its sockets: clients and one pooler are calls, so that what is timed is the
// gateway's own work and nothing of the kernel's.
import { gatewayFields } from '../../gateway/config.ts'
import { Hold } from '../../gateway/hold/hold.ts'
import { Pauses } from '../../gateway/hold/pauses.ts'
import { PoolerLink } from '../../gateway/poolers/pooler-link.ts'
import { BatchBuilder } from '../../gateway/session/batch-builder.ts'
import { PieceScanner } from '../../gateway/session/piece-scanner.ts'
import { Counters, type SessionHost } from '../../gateway/session/session-host.ts'
import { Session } from '../../gateway/session/session.ts'
import { TrafficBook } from '../../gateway/session/traffic.ts'
import { StatementRegistry } from '../../gateway/statements/statement-registry.ts'
import { loadConfig } from '../../shared/config/load.ts'
import { Flag, Kind } from '../../shared/link/frame.ts'
import { LinkConnection } from '../../shared/link/link-connection.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { Drain } from './drain.ts'
import { frame } from './messages.ts'

/** `clients` sessions, all at rest. */
export type GatewayRig = {
  readonly sessions: readonly Session[]
  readonly link: LinkConnection
  /** Bytes of one READY answer for each session, in order. */
  answers(payload: Buffer): Buffer
}

const VECTOR = JSON.stringify([['client_encoding', 'UTF8']])

/** Builds it, with every session opened. */
export async function gatewayRig(clients: number): Promise<GatewayRig> {
  const limits = loadConfig({ service: 'gateway', fields: gatewayFields, argv: [], env: {} }).values
  const log = nullLogger
  const pooler = new PoolerLink('pooler', () => [], {
    gatewayId: 'gateway',
    secret: Buffer.alloc(32),
    connectTimeoutMs: 1000,
    loginTimeoutMs: 1000,
    log,
    changed() {},
  })
  const link = new LinkConnection(new Drain(), pooler)
  pooler.connection = link
  const registry = new StatementRegistry({
    gatewayTag: 'g',
    bytesMax: limits.statementCacheBytes,
    unusedMax: limits.statementCacheUnusedMax,
    released() {},
  })
  const host: SessionHost = {
    route: { pick: () => pooler, keeps: () => true },
    registry,
    builder: new BatchBuilder(),
    scanner: new PieceScanner(),
    hold: new Hold(limits),
    pauses: new Pauses(limits),
    limits,
    counters: new Counters(),
    traffic: new TrafficBook(),
    log,
    observe() {},
    ended() {},
  }
  link.onData(frame(Kind.Parameters, 0, 0, 1, Buffer.from(VECTOR)))
  const sessions: Session[] = []
  for (let at = 0; at < clients; at++) {
    const request = { user: 'u', database: 'd', options: [], client: 'c', session: at + 1 }
    const cancelKey = Buffer.alloc(32)
    const session = new Session({ host, socket: new Drain(), number: at + 1, cancelKey, request })
    const opened = session.open()
    link.onData(frame(Kind.Opened, at + 1, 0, 1, Buffer.alloc(0)))
    await opened
    session.begin(Buffer.alloc(0))
    sessions.push(session)
  }
  const flags = Flag.Ready | Flag.Boundary
  return {
    sessions,
    link,
    answers: (payload) =>
      Buffer.concat(sessions.map((_, at) => frame(Kind.Data, at + 1, flags, 1, payload))),
  }
}
