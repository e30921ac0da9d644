// A pooler's data part without its sockets: the link and the backends are calls, so that what is
// timed is the pooler's own work and nothing of the kernel's.
import { poolerFields } from '../../pooler/config.ts'
import type { Backend } from '../../pooler/backend/backend.ts'
import { Executor } from '../../pooler/execute/executor.ts'
import { limitsOf, POSTGRES_DEFAULTS } from '../../pooler/execute/limits.ts'
import { LinkSession } from '../../pooler/execute/link-session.ts'
import { loadConfig } from '../../shared/config/load.ts'
import { BATCH_HEAD_BYTES, Flag, Kind } from '../../shared/link/frame.ts'
import { LinkConnection } from '../../shared/link/link-connection.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import {
  authenticationOk,
  backendKeyData,
  parameterStatus,
  readyForQuery,
} from '../../shared/pgwire/backend.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { Drain } from './drain.ts'
import { frame } from './messages.ts'

/** `clients` streams at rest over `backends` idle backends. */
export type PoolerRig = {
  readonly link: LinkConnection
  readonly backends: readonly Backend[]
  /** A chunk of the link: one whole batch of each stream. */
  batches(payload: Buffer): Buffer
}

const RULE = { term: 1n, subterm: 0n }
const DATABASE = 'd'

/** Builds it. */
export async function poolerRig(clients: number, backends: number): Promise<PoolerRig> {
  const fields = poolerFields
  const config = loadConfig({ service: 'pooler', fields, argv: [], env: {} }).values
  const executor = new Executor({
    log: nullLogger,
    identity: { id: 'p', database: DATABASE, shard: '0-inf' },
    limits: limitsOf({ ...config, poolSize: backends }, POSTGRES_DEFAULTS),
    socketPath: () => undefined,
    serving: {
      role: 'leader',
      ...RULE,
      serving: true,
      reason: '',
      notReadable: 'it leads',
      lagBytes: 0,
    },
    nowMs: 0,
  })
  executor.watches.of(DATABASE).ready = true
  const unheard = { frame() {}, drained() {}, closed() {} }
  const link = new LinkConnection(new Drain(), unheard)
  const session = new LinkSession(executor, link, 'g')
  link.handler = session
  const started = Buffer.concat([
    authenticationOk(),
    parameterStatus('client_encoding', 'UTF8'),
    backendKeyData(1, Buffer.alloc(4)),
    readyForQuery(TransactionStatus.Idle),
  ])
  const connect = withoutConnecting()
  for (let id = 1; id <= clients; id++) link.onData(frame(Kind.Open, id, 0, 0, opening(id)))
  const all: Backend[] = []
  for (const pool of executor.pools.pools.values()) {
    // Every stream tries its options on a backend, so that as many open as there may be.
    for (const backend of pool.members) {
      backend.onOpen(new Drain() as unknown as Bun.Socket<Backend>)
      backend.onData(Buffer.from(started))
      all.push(backend)
    }
  }
  connect[Symbol.dispose]()
  await Promise.resolve()
  return { link, backends: all, batches: (payload) => batchesOf(clients, payload) }
}

function opening(id: number): Buffer {
  const request = { user: 'u', database: DATABASE, options: [], client: 'c', session: id }
  return Buffer.from(JSON.stringify(request))
}

function batchesOf(clients: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(BATCH_HEAD_BYTES)
  head.writeBigUInt64BE(RULE.term, 0)
  head.writeBigUInt64BE(RULE.subterm, 8)
  const body = Buffer.concat([head, payload])
  const flags = Flag.Final | Flag.Boundary
  const ids = Array.from({ length: clients }, (_, at) => at + 1)
  return Buffer.concat(ids.map((id) => frame(Kind.Batch, id, flags, 1, body)))
}

/** Until disposed, nothing is ever connected. */
function withoutConnecting(): Disposable {
  const { connect } = Bun
  const never = new Promise<never>(() => {})
  Bun.connect = (() => never) as typeof Bun.connect
  return { [Symbol.dispose]: () => void (Bun.connect = connect) }
}
