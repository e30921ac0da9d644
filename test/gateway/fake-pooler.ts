// A pooler's end of a link that says what a test wants it to say, and writes down what it gets.
// There is no Postgres behind it: the answers of batches are made here.
import { PgError } from '../../shared/errors/pg-error.ts'
import { fromPgError } from '../../shared/pgwire/error-fields.ts'
import { makeVerifier, formatVerifier } from '../../shared/scram/verifier.ts'
import {
  BATCH_HEAD_BYTES,
  Entry,
  Flag,
  Kind,
  OP_BYTES,
  OPS_HEAD_BYTES,
} from '../../shared/link/frame.ts'
import { LinkAccept } from '../../shared/link/link-accept.ts'
import type { LinkConnection } from '../../shared/link/link-connection.ts'
import { commandComplete, readyForQuery } from '../../shared/pgwire/backend.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { PoolerRecord } from '../../shared/topology/records.ts'

/** What it says of itself. */
export type Standing = {
  role?: 'leader' | 'follower'
  term?: bigint
  subterm?: bigint
  serving?: boolean
  /** Why it may not be read from as from a follower; '' when it may. */
  notReadable?: string
  lsn?: bigint
}

/** A batch, as it came. */
export type FakeBatch = {
  stream: number
  number: number
  rule: string
  pins: number
  ops: number
  flags: number
  /** Its messages in its first frame, as text. */
  text: string
}

/** A NAMES frame. */
export type FakeNames = { names: string[]; defines: string[] }

/** What it does with a batch. */
export type Script = (batch: FakeBatch, pooler: FakePooler) => void

const { Idle, InTransaction, Failed } = TransactionStatus
const HEALTH_MS = 100
const VERIFIER = formatVerifier(makeVerifier('postgres', { iterations: 100 }))
const NOT_SERVING = fromPgError(
  new PgError('cannot_connect_now', 'another leads', { severity: 'FATAL' }),
)
const VECTOR = JSON.stringify([
  ['client_encoding', 'UTF8'],
  ['standard_conforming_strings', 'on'],
])

export class FakePooler implements Disposable {
  readonly id: string
  readonly record: PoolerRecord
  /** Every batch that came, in order. */
  readonly batches: FakeBatch[] = []
  /** Numbers of batches that were to be cancelled. */
  readonly cancels: number[] = []
  readonly closed: number[] = []
  /** What NAMES frames said. */
  readonly names: FakeNames[] = []
  /** What streams were opened for, as it came. */
  readonly opens: Record<string, unknown>[] = []
  script: Script = (batch) => this.answer(batch)
  connection: LinkConnection | undefined
  silent = false
  /** Logins are told that their sessions are accepted. */
  knows = false
  /** Streams that were opened as known, and so many that it does not know from now on. */
  entered = 0
  knownRefused = 0
  /** So many streams are refused from now on, as by a pooler that does not serve. */
  opensRefused = 0
  readonly #listener: Bun.TCPSocketListener<LinkAccept | undefined>
  readonly #refused = new Set<number>()
  readonly #beat: ReturnType<typeof setInterval>
  #looks = 0
  #standing: Required<Standing>

  constructor(id: string, secret: Uint8Array, standing: Standing = {}) {
    this.id = id
    const rule = { term: 1n, subterm: 0n }
    const leads = { role: 'leader', serving: true, notReadable: 'it leads', lsn: 1000n } as const
    this.#standing = { ...leads, ...rule, ...standing }
    this.#listener = this.#listen(secret)
    this.record = recordOf(id, this.#listener.port)
    this.#beat = setInterval(() => this.tellHealth(), HEALTH_MS)
  }

  /** Changes what it says of itself, and says so. */
  stand(standing: Standing): void {
    this.#standing = { ...this.#standing, ...standing }
    this.tellHealth()
  }

  tellHealth(): void {
    if (this.silent) return
    const { role, term, subterm, serving, notReadable } = this.#standing
    const rule = { term: term.toString(), subterm: subterm.toString() }
    const lsn = this.#standing.lsn.toString()
    const reads = { not_readable: notReadable, lsn, lsn_look: ++this.#looks }
    this.connection?.sendJson(Kind.Health, 0, 0, { id: this.id, role, ...rule, serving, ...reads })
  }

  /** Ends a batch well: a CommandComplete that names this pooler, and ReadyForQuery. */
  answer(batch: FakeBatch, status: 'I' | 'T' | 'E' = 'I', pins = status === 'I' ? 0 : 1): void {
    const byte = { I: Idle, T: InTransaction, E: Failed }[status]
    const bytes = Buffer.concat([commandComplete(this.id), readyForQuery(byte)])
    const flags = Flag.Boundary | Flag.Ready
    this.connection?.send(Kind.Data, batch.stream, flags, byte, pins, 1, bytes)
  }

  /** What the session of a batch holds now. */
  settings(batch: FakeBatch, pairs: readonly (readonly [string, string])[] | null): void {
    this.connection?.sendJson(Kind.Settings, batch.stream, 0, pairs)
  }

  /** Part of an answer. */
  send(batch: FakeBatch, bytes: Buffer, flags: number): void {
    this.connection?.send(Kind.Data, batch.stream, flags, 0, 0, 0, bytes)
  }

  lose(batch: FakeBatch, sent: boolean): void {
    const loss = Buffer.from(JSON.stringify({ sqlstate: '57P01', message: 'gone' }))
    this.connection?.send(Kind.Lost, batch.stream, 0, sent ? 1 : 0, 0, batch.number, loss)
  }

  refuse(batch: FakeBatch, code: string, sqlstate = '57P03'): void {
    const refusal = { code, sqlstate, message: `refused: ${code}` }
    this.connection?.sendJson(Kind.Refused, batch.stream, batch.number, refusal)
  }

  /** The link breaks. */
  cut(): void {
    this.connection?.close(new Error('cut by the test'))
  }

  [Symbol.dispose](): void {
    clearInterval(this.#beat)
    this.#listener.stop(true)
  }

  #listen(secret: Uint8Array): Bun.TCPSocketListener<LinkAccept | undefined> {
    const accept = (socket: Bun.Socket<LinkAccept | undefined>, packet: Buffer): LinkAccept =>
      new LinkAccept(socket, packet.subarray(8), {
        secret,
        poolerId: this.id,
        refused: () => {},
        handlerFor: (connection) => {
          this.connection = connection
          setTimeout(() => this.tellHealth(), 1)
          return {
            frame: (kind, stream, flags, _status, _pins, value, bytes, start, end) =>
              this.#onFrame({ kind, stream, flags, value }, bytes.subarray(start, end)),
            drained: () => {},
            closed: () => {},
          }
        },
      })
    return Bun.listen<LinkAccept | undefined>({
      hostname: '127.0.0.1',
      port: 0,
      socket: {
        data(socket, chunk) {
          if (socket.data === undefined) socket.data = accept(socket, chunk)
          else socket.data.onData(chunk)
        },
        drain: (socket) => socket.data?.onDrain(),
        close: (socket) => socket.data?.onClose(),
      },
    })
  }

  #onFrame(
    { kind, stream, flags, value }: { kind: number; stream: number; flags: number; value: number },
    payload: Buffer,
  ): void {
    switch (kind) {
      case Kind.Open:
        this.opens.push(JSON.parse(payload.toString()) as Record<string, unknown>)
        this.#refused.delete(stream)
        if (value === Entry.Known && this.knownRefused === 0) {
          this.entered++
          break
        }
        if (value === Entry.Known) {
          this.knownRefused--
          this.#refused.add(stream)
          this.connection?.send(Kind.Failed, stream, 0, 0, 0, 0, NOT_SERVING)
          break
        }
        if (this.opensRefused > 0) {
          this.opensRefused--
          this.connection?.send(Kind.Failed, stream, 0, 0, 0, 0, NOT_SERVING)
          break
        }
        this.connection?.send(Kind.Parameters, 0, 0, 0, 0, 1, Buffer.from(VECTOR))
        this.connection?.send(Kind.Opened, stream, 0, 0, 0, 1)
        break
      case Kind.Login:
        if (this.knows) {
          this.connection?.send(Kind.Parameters, 0, 0, 0, 0, 1, Buffer.from(VECTOR))
        }
        this.connection?.sendJson(Kind.LoginRow, 0, value, {
          ...loginRow(),
          ...(this.knows ? { ready: 1 } : {}),
        })
        break
      case Kind.Batch:
        if (this.#refused.has(stream)) break // it came behind its OPEN
        this.#onBatch({ stream, flags, value }, payload)
        break
      case Kind.Names:
        this.names.push(JSON.parse(payload.toString()) as FakeNames)
        break
      case Kind.Cancel:
        this.cancels.push(value)
        break
      case Kind.Close:
        this.closed.push(stream)
        this.connection?.send(Kind.Closed, stream, 0, 0, 0, 0)
        break
      default:
    }
  }

  #onBatch(head: { stream: number; flags: number; value: number }, payload: Buffer): void {
    const { stream, flags, value: number } = head
    const hasOps = (flags & Flag.HasOps) !== 0
    const ops = hasOps ? payload.readUInt16BE(BATCH_HEAD_BYTES) : 0
    const raw = BATCH_HEAD_BYTES + (hasOps ? OPS_HEAD_BYTES + ops * OP_BYTES : 0)
    const batch: FakeBatch = {
      stream,
      number,
      rule: `${payload.readBigUInt64BE(0)}.${payload.readBigUInt64BE(8)}`,
      pins: payload.readUInt32BE(16),
      ops,
      flags,
      text: payload.toString('latin1', raw),
    }
    this.batches.push(batch)
    this.script(batch, this)
  }
}

function loginRow(): Record<string, unknown> {
  return {
    found: true,
    verifier: VERIFIER,
    canLogin: true,
    validUntilMs: null,
    connect: true,
    connectionLimit: -1,
    superuser: false,
    replication: false,
    databaseFound: true,
    databaseAllowsConnections: true,
  }
}

function recordOf(id: string, dataPort: number): PoolerRecord {
  return {
    id,
    cell: 'zone1',
    database: 'postgres',
    shard: '0-inf',
    incarnation: '1',
    lifecycle: 'active',
    host: '127.0.0.1',
    grpc: '',
    http: '',
    dataPort,
    socket: '',
    postgresHost: '',
    postgresPort: 0,
    updatedAtMs: 0,
  }
}
