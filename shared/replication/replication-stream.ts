import { PgError } from '../errors/pg-error.ts'
import { copyData, copyDone, query } from '../pgwire/frontend.ts'
import { formatLsn, parseLsn } from '../pgwire/lsn.ts'
import { Backend } from '../pgwire/message-types.ts'
import type { MessageReader } from '../pgwire/message-reader.ts'
import { wallTimeMs } from '../time/clock.ts'
import { readResult, unexpected } from './result.ts'
import type { WireStream } from './wire-stream.ts'

const POSTGRES_EPOCH_MS = Date.UTC(2000, 0, 1)

/** Where to start. */
export type StartReplicationOptions = {
  slot?: string
  lsn: bigint
  /** The server's own by default. */
  timeline?: number
}

/** What a stream brings. Times are the server's, in milliseconds since the Unix epoch. */
export type ReplicationMessage =
  | {
      kind: 'xlogData'
      startLsn: bigint
      /** End of WAL on the server, for lag. */
      endLsn: bigint
      sentAtMs: number
      /** WAL from `startLsn` on; stays intact as long as it is held. */
      bytes: Buffer
    }
  | { kind: 'keepalive'; endLsn: bigint; sentAtMs: number; replyRequested: boolean }

/** How far the receiver is. Each is the first byte not yet written, flushed, applied. */
export type StandbyStatus = {
  writtenLsn: bigint
  flushedLsn: bigint
  appliedLsn: bigint
  replyRequested?: boolean
}

/** A running START_REPLICATION: iterate it, and answer with `sendStatus`. */
export class ReplicationStream implements AsyncIterable<ReplicationMessage> {
  /** The timeline that follows and where it starts; set when this one has ended. */
  next: { timeline: number; startLsn: bigint } | undefined
  readonly #stream: WireStream
  #streaming: boolean
  #copyDoneSent = false

  private constructor(stream: WireStream, streaming: boolean) {
    this.#stream = stream
    this.#streaming = streaming
  }

  /** Starts streaming on `stream`. @throws ServerError when the server refuses. */
  static async start(
    stream: WireStream,
    options: StartReplicationOptions,
  ): Promise<ReplicationStream> {
    await stream.send(query(startCommand(options)))
    const type = await stream.next()
    if (type === Backend.CopyBothResponse) return new ReplicationStream(stream, true)
    // Asked for the very end of an old timeline: the server only says which one follows.
    if (type !== Backend.RowDescription) await unexpected(stream)
    const ended = new ReplicationStream(stream, false)
    await ended.#readNext()
    return ended
  }

  /**
   * Messages until the timeline ends or `stop` was called. @throws ServerError: the server looks
   * for the WAL asked for only now (58P01: it is gone); the connection can be used again.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<ReplicationMessage, void> {
    while (this.#streaming) {
      const type = await this.#stream.next()
      if (type === Backend.CopyData) yield decode(this.#stream.reader)
      else if (type === Backend.CopyDone) await this.#finish()
      else {
        this.#streaming = false
        await unexpected(this.#stream)
      }
    }
  }

  /** Tells the server how far we are. Wanted at least every wal_receiver_status_interval. */
  async sendStatus(status: StandbyStatus): Promise<void> {
    const message = Buffer.alloc(34)
    message.write('r', 0, 'latin1')
    message.writeBigUInt64BE(status.writtenLsn, 1)
    message.writeBigUInt64BE(status.flushedLsn, 9)
    message.writeBigUInt64BE(status.appliedLsn, 17)
    message.writeBigInt64BE(BigInt(Math.trunc(wallTimeMs() - POSTGRES_EPOCH_MS)) * 1000n, 25)
    message[33] = status.replyRequested === true ? 1 : 0
    await this.#stream.send(copyData(message))
  }

  /** Asks the server to end the stream; go on iterating until it does. */
  async stop(): Promise<void> {
    if (this.#copyDoneSent || !this.#streaming) return
    this.#copyDoneSent = true
    await this.#stream.send(copyDone())
  }

  async #finish(): Promise<void> {
    await this.stop()
    this.#streaming = false
    await this.#readNext()
  }

  async #readNext(): Promise<void> {
    const [row] = await readResult(this.#stream)
    if (row === undefined) return
    this.next = { timeline: Number(row[0]), startLsn: parseLsn(String(row[1])) }
  }
}

function startCommand(options: StartReplicationOptions): string {
  const { slot, lsn, timeline } = options
  if (slot !== undefined && !/^[a-z0-9_]{1,63}$/.test(slot)) {
    throw new PgError('invalid_parameter_value', `not the name of a replication slot: "${slot}"`)
  }
  const from = `${slot === undefined ? '' : `SLOT ${slot} `}PHYSICAL ${formatLsn(lsn)}`
  return `START_REPLICATION ${from}${timeline === undefined ? '' : ` TIMELINE ${timeline}`}`
}

function decode(reader: MessageReader): ReplicationMessage {
  const kind = String.fromCharCode(reader.uint8())
  if (kind === 'w') {
    const startLsn = reader.uint64()
    const endLsn = reader.uint64()
    return { kind: 'xlogData', startLsn, endLsn, sentAtMs: time(reader), bytes: reader.rest() }
  }
  if (kind === 'k') {
    const endLsn = reader.uint64()
    const sentAtMs = time(reader)
    return { kind: 'keepalive', endLsn, sentAtMs, replyRequested: reader.uint8() !== 0 }
  }
  throw new PgError('protocol_violation', `unknown message of a replication stream: ${kind}`)
}

function time(reader: MessageReader): number {
  return Number(reader.int64() / 1000n) + POSTGRES_EPOCH_MS
}
