// A gateway's end of a link, reduced to what tests need: it opens streams, sends batches as they are
// told, and writes down what comes back, one line a message.
import {
  BATCH_HEAD_BYTES,
  Flag,
  FRAME_PAYLOAD_BYTES_MAX,
  Kind,
  OP_BYTES,
  OPS_HEAD_BYTES,
  STREAM_WINDOW_BYTES,
} from '../../shared/link/frame.ts'
import { connectLink, type LinkAddress } from '../../shared/link/link-client.ts'
import type { LinkConnection, LinkHandler } from '../../shared/link/link-connection.ts'
import { MessageReader } from '../../shared/pgwire/message-reader.ts'
import { withDeadline } from '../../shared/time/clock.ts'
import { describeBackend } from '../../shared/pgwire/transcript.ts'
import type { Health } from '../../pooler/execute/health.ts'
import { until } from '../support/until.ts'

/** The rule that tests run under, unless they say otherwise. */
export const RULE = { term: 1n, subterm: 0n }

/** One operation on the message at `offset` of a batch's first frame. */
export type TestOp = { op: number; offset: number; id: number }

export type BatchOptions = {
  rule?: { term: bigint; subterm: bigint }
  /** Pins and looks. */
  pins?: number
  ops?: readonly TestOp[]
  /** The bytes end with what makes a ReadyForQuery; true unless told. */
  final?: boolean
  /** It is for the backend that the session holds. */
  held?: boolean
}

/** Whom a stream is opened for. */
export type OpenOptions = {
  user?: string
  database?: string
  options?: [string, string][]
  /** It reads from this node as from a follower. */
  reads?: boolean
  /** What it holds already. */
  settings?: [string, string][]
}

type FrameHead = { kind: number; flags: number; value: number }

/** A link and its streams. */
export class TestLink implements LinkHandler {
  readonly streams = new Map<number, TestStream>()
  readonly vectors = new Map<number, [string, string][]>()
  readonly logins = new Map<number, unknown>()
  health: Health | undefined
  closedBy: Error | undefined | null = null
  connection!: LinkConnection
  #nextStream = 1

  static async connect(
    address: LinkAddress,
    secret: Uint8Array,
    poolerId: string,
  ): Promise<TestLink> {
    const link = new TestLink()
    link.connection = await connectLink({
      address,
      secret,
      gatewayId: 'zone1_gateway1',
      poolerId,
      handler: link,
      timeoutMs: 5000,
    })
    return link
  }

  /** A stream that is not opened yet. */
  stream(): TestStream {
    const stream = new TestStream(this, this.#nextStream++)
    this.streams.set(stream.id, stream)
    return stream
  }

  /** A stream opened for `user` in `database`. */
  async open(options: OpenOptions = {}): Promise<TestStream> {
    const stream = this.stream()
    const line = await stream.open(options)
    if (line !== 'OPENED') throw new Error(line)
    return stream
  }

  async login(user: string, database: string): Promise<unknown> {
    const id = this.logins.size + 1
    this.logins.set(id, undefined)
    this.connection.sendJson(Kind.Login, 0, id, { user, database })
    return until(() => this.logins.get(id))
  }

  define(id: number, message: Buffer): void {
    for (let at = 0; at < message.length || at === 0; at += FRAME_PAYLOAD_BYTES_MAX) {
      const end = Math.min(message.length, at + FRAME_PAYLOAD_BYTES_MAX)
      const flags = end === message.length ? Flag.Boundary : 0
      this.connection.send(Kind.Define, 0, flags, 0, 0, id, message, at, end)
    }
  }

  release(id: number): void {
    this.connection.send(Kind.Release, 0, 0, 0, 0, id)
  }

  frame(
    kind: number,
    id: number,
    flags: number,
    status: number,
    pins: number,
    value: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    if (id !== 0) {
      this.streams.get(id)?.frame(kind, flags, status, pins, value, bytes.subarray(start, end))
      return
    }
    const text = bytes.toString('utf8', start, end)
    if (kind === Kind.Parameters) this.vectors.set(value, JSON.parse(text))
    if (kind === Kind.LoginRow) this.logins.set(value, JSON.parse(text))
    if (kind === Kind.Health) this.health = JSON.parse(text)
  }

  drained(): void {}

  closed(reason: Error | undefined): void {
    this.closedBy = reason
  }

  close(): void {
    this.connection.close()
  }
}

/** One session as its gateway sees it. */
export class TestStream {
  readonly id: number
  /** What came, one line a message or frame. */
  readonly lines: string[] = []
  /** Flags of the DATA frames that came. */
  readonly flags: number[] = []
  /** Gives credit back for what it got; a slow client does not. */
  credits = true
  dataBytes = 0
  vector = 0
  pins = 0
  batchNumber = 0
  /** The last SETTINGS, and all of them. */
  settings = '[]'
  readonly told: string[] = []
  /** Bytes of DATA are only counted, not read. */
  countOnly = false
  readonly #link: TestLink
  readonly #reader = new MessageReader({ messageBytesMax: 2 ** 30 })
  #window = STREAM_WINDOW_BYTES
  #owed = 0
  #changed = Promise.withResolvers<void>()
  #queue: Buffer[] = []
  #queueFlags: FrameHead[] = []

  constructor(link: TestLink, id: number) {
    this.#link = link
    this.id = id
  }

  async open(options: OpenOptions = {}): Promise<string> {
    const {
      user = 'postgres',
      database = 'postgres',
      options: startup = [],
      reads,
      settings,
    } = options
    const who = { user, database, options: startup, reads, settings }
    const hello = { ...who, client: '127.0.0.1:1', session: this.id }
    this.#link.connection.sendJson(Kind.Open, this.id, 0, hello)
    await this.#arrived(() => this.lines.length > 0, 'an answer to OPEN', 10_000)
    return this.lines.shift() as string
  }

  /** Bytes that wait for credit before they leave. */
  get queued(): number {
    return this.#queue.reduce((sum, frame) => sum + frame.length, 0)
  }

  /** Sends a batch; cut into frames, within the window. */
  batch(messages: Buffer | readonly Buffer[], options: BatchOptions = {}): void {
    const { rule = RULE, pins = 0, ops = [], final = true, held = false } = options
    const raw = Buffer.isBuffer(messages) ? messages : Buffer.concat(messages)
    const head = Buffer.alloc(BATCH_HEAD_BYTES)
    head.writeBigUInt64BE(rule.term, 0)
    head.writeBigUInt64BE(rule.subterm, 8)
    head.writeUInt32BE(pins, 16)
    const table = opTable(ops)
    const room = FRAME_PAYLOAD_BYTES_MAX - head.length - table.length
    const first = raw.subarray(0, room)
    const rest = raw.subarray(room)
    const flags =
      (ops.length > 0 ? Flag.HasOps : 0) |
      (final && rest.length === 0 ? Flag.Final : 0) |
      (held ? Flag.Held : 0)
    this.#push(Kind.Batch, flags, ++this.batchNumber, Buffer.concat([head, table, first]))
    if (rest.length > 0) this.more(rest, { final })
  }

  /** Names settings for the next look. */
  names(names: readonly string[], defines: readonly string[] = []): void {
    this.#push(Kind.Names, 0, 0, Buffer.from(JSON.stringify({ names, defines })))
  }

  /** Sends more of the running batch. */
  more(
    messages: Buffer | readonly Buffer[],
    options: { final?: boolean; ops?: readonly TestOp[]; mask?: number } = {},
  ): void {
    const { final = false, ops = [], mask = 0 } = options
    let raw = Buffer.isBuffer(messages) ? messages : Buffer.concat(messages)
    let table = opTable(ops)
    do {
      const room = FRAME_PAYLOAD_BYTES_MAX - table.length
      const part = raw.subarray(0, room)
      raw = raw.subarray(room)
      const flags =
        (table.length > 0 ? Flag.HasOps : 0) | (final && raw.length === 0 ? Flag.Final : 0)
      this.#push(Kind.Data, flags, mask, Buffer.concat([table, part]))
      table = Buffer.alloc(0)
    } while (raw.length > 0)
  }

  /** Sends a batch and waits for its end; the lines that came. */
  async run(messages: Buffer | readonly Buffer[], options: BatchOptions = {}): Promise<string[]> {
    this.batch(messages, options)
    return this.end()
  }

  /** Waits for the end of the batch under way; takes the lines. */
  async end(deadlineMs = 10_000): Promise<string[]> {
    await this.#arrived(() => this.#endsAt() >= 0, 'the end of its batch', deadlineMs)
    return this.lines.splice(0, this.#endsAt() + 1)
  }

  /** Waits for a line that starts with `start`; it stays. */
  async until(start: string, deadlineMs = 10_000): Promise<void> {
    await this.#arrived(() => this.lines.some((line) => line.startsWith(start)), start, deadlineMs)
  }

  cancel(batch = this.batchNumber): void {
    this.#link.connection.send(Kind.Cancel, this.id, 0, 0, 0, batch)
  }

  /** Ends the session and waits for CLOSED. */
  async close(): Promise<void> {
    this.#link.connection.send(Kind.Close, this.id, 0, 0, 0, 0)
    await this.until('CLOSED')
    this.#link.streams.delete(this.id)
  }

  /** Gives back what it owes, and everything that comes from now on. */
  startReading(): void {
    this.credits = true
    this.#credit(0)
  }

  frame(
    kind: number,
    flags: number,
    status: number,
    pins: number,
    value: number,
    payload: Buffer,
  ): void {
    this.#take(kind, flags, status, pins, value, payload)
    const changed = this.#changed
    this.#changed = Promise.withResolvers()
    changed.resolve()
  }

  #take(
    kind: number,
    flags: number,
    status: number,
    pins: number,
    value: number,
    payload: Buffer,
  ): void {
    switch (kind) {
      case Kind.Data:
        this.#onData(flags, pins, value, payload)
        break
      case Kind.Credit:
        this.#window += value
        this.#flush()
        break
      case Kind.Settings:
        this.settings = payload.toString()
        this.told.push(this.settings)
        break
      case Kind.Opened:
        this.vector = value
        this.lines.push('OPENED')
        break
      case Kind.Refused:
        this.lines.push(`REFUSED ${refusalText(payload)}`)
        break
      case Kind.Lost:
        this.lines.push(`LOST ${status} ${JSON.parse(payload.toString()).sqlstate}`)
        break
      default:
        this.lines.push(
          `${kind === Kind.Failed ? 'FAILED' : 'CLOSED'} ${errorText(payload)}`.trim(),
        )
    }
  }

  /** Waits until `condition` holds; it is looked at with every frame. */
  async #arrived(condition: () => boolean, what: string, deadlineMs: number): Promise<void> {
    const wait = async (): Promise<void> => {
      while (!condition()) await this.#changed.promise
    }
    await withDeadline(
      wait(),
      deadlineMs,
      `stream ${this.id}: ${what} (got ${this.lines.join(', ')})`,
    )
  }

  #onData(flags: number, pins: number, value: number, payload: Buffer): void {
    this.flags.push(flags)
    this.dataBytes += payload.length
    if (this.countOnly) {
      if ((flags & Flag.Ready) !== 0) this.lines.push('ReadyForQuery')
    } else {
      this.#reader.feed(Buffer.from(payload))
      const ready = (flags & Flag.Ready) !== 0
      while (this.#reader.next() !== undefined) {
        const line = describeBackend(this.#reader)
        // One that ends no batch: it answers a Sync that Postgres took as one of its own.
        this.lines.push(!ready && line.startsWith('ReadyForQuery') ? `early ${line}` : line)
      }
    }
    if ((flags & Flag.Ready) !== 0) {
      this.pins = pins
      this.vector = value
    }
    this.#credit(payload.length)
  }

  #credit(bytes: number): void {
    this.#owed += bytes
    if (!this.credits || this.#owed < STREAM_WINDOW_BYTES / 4) return
    this.#link.connection.send(Kind.Credit, this.id, 0, 0, 0, this.#owed)
    this.#owed = 0
  }

  #endsAt(): number {
    return this.lines.findIndex((line) => /^(ReadyForQuery|REFUSED|LOST|CLOSED)/.test(line))
  }

  #push(kind: number, flags: number, value: number, payload: Buffer): void {
    this.#queue.push(payload)
    this.#queueFlags.push({ kind, flags, value })
    this.#flush()
  }

  #flush(): void {
    for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      const { kind, flags, value } = this.#queueFlags[0] as FrameHead
      if (next.length > this.#window) return
      if (kind !== Kind.Names) this.#window -= next.length
      this.#queue.shift()
      this.#queueFlags.shift()
      this.#link.connection.send(kind, this.id, flags, 0, 0, value, next)
    }
  }
}

function opTable(ops: readonly TestOp[]): Buffer {
  if (ops.length === 0) return Buffer.alloc(0)
  const table = Buffer.alloc(OPS_HEAD_BYTES + ops.length * OP_BYTES)
  table.writeUInt16BE(ops.length, 0)
  for (const [index, { op, offset, id }] of ops.entries()) {
    const at = OPS_HEAD_BYTES + index * OP_BYTES
    table[at] = op
    table.writeUInt16BE(offset, at + 2)
    table.writeUInt32BE(id, at + 4)
  }
  return table
}

function refusalText(payload: Buffer): string {
  const { code, sqlstate } = JSON.parse(payload.toString())
  return `${code} ${sqlstate}`
}

function errorText(payload: Buffer): string {
  if (payload.length === 0) return ''
  const reader = new MessageReader({ messageBytesMax: 2 ** 20 })
  reader.feed(Buffer.from(payload))
  reader.next()
  return describeBackend(reader)
}
