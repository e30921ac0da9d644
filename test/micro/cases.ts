// The hot paths, each without a socket: what stands between one read and one write.
import { classify } from '../../gateway/session/classify.ts'
import { LexMode } from '../../gateway/session/sql-lexer.ts'
import { assert } from '../../shared/errors/assert.ts'
import { BATCH_HEAD_BYTES, Flag, Kind } from '../../shared/link/frame.ts'
import { LinkConnection } from '../../shared/link/link-connection.ts'
import { dataRow, readyForQuery } from '../../shared/pgwire/backend.ts'
import { MessageReader } from '../../shared/pgwire/message-reader.ts'
import { MessageScanner } from '../../shared/pgwire/message-scanner.ts'
import { Backend, TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { Case } from './case.ts'
import { Drain } from './drain.ts'
import { gatewayRig } from './gateway-rig.ts'
import { ANSWER, EXTENDED, EXTENDED_ANSWER, frame, QUERY, TEXT } from './messages.ts'
import { poolerRig } from './pooler-rig.ts'

const CLIENTS = 64
const BACKENDS = 16
/** Clients whose bytes one turn of the event loop brings. */
const CLIENTS_PER_TURN = 16
const ROWS = 400
/** Few enough for the window of a stream. */
const CALLS_PER_CREDIT = 500
const NOTHING = Buffer.alloc(0)
/** At most, of the table of operations of a batch. */
const OPS_BYTES = 64
const MESSAGE_BYTES_MAX = 1024 * 1024
const LONG_TEXT = `WITH t AS (SELECT 'it''s', $1::int /* note */) ${TEXT} ${'x.y = 10, '.repeat(100)}`

/** All of them, ready to run. */
export async function allCases(): Promise<Case[]> {
  return [
    scanRows(),
    readMessages(),
    classifyText('classifier: a short text', TEXT),
    classifyText('classifier: a long text', LONG_TEXT),
    frames(),
    await gateway('gateway: a simple query', QUERY, ANSWER),
    await gateway('gateway: an extended query', EXTENDED, EXTENDED_ANSWER),
    await handOver(),
  ]
}

function rows(): Buffer {
  const row = dataRow([Buffer.from('123456'), Buffer.from('a short text of a row')])
  return Buffer.concat([
    ...Array.from({ length: ROWS }, () => row),
    readyForQuery(TransactionStatus.Idle),
  ])
}

function scanRows(): Case {
  const chunk = rows()
  const scanner = new MessageScanner({
    interest: [Backend.ReadyForQuery, Backend.ErrorResponse, Backend.ParameterStatus],
    messageBytesMax: MESSAGE_BYTES_MAX,
    holdBytesMax: 1024,
  })
  const run = (): void => {
    scanner.feed(chunk)
    while (scanner.next() !== 0) continue
  }
  return { name: 'codec: rows passed on', operations: ROWS, run }
}

function readMessages(): Case {
  const chunk = rows()
  const reader = new MessageReader({ messageBytesMax: MESSAGE_BYTES_MAX })
  let columns = 0
  const run = (): void => {
    reader.feed(chunk)
    while (reader.next() !== undefined) {
      if (reader.type === Backend.DataRow) columns += reader.uint16()
    }
  }
  return { name: 'codec: rows read', operations: ROWS, run }
}

function classifyText(name: string, text: string): Case {
  const bytes = Buffer.from(text)
  let traits = 0
  const operations = Math.ceil((CLIENTS * TEXT.length) / text.length)
  const run = (): void => {
    for (let at = 0; at < operations; at++) traits |= classify(bytes, 0, bytes.length, LexMode.Utf8)
  }
  return { name, operations, run }
}

/** Frames of one turn leave in one write, and are cut apart at the other end. */
function frames(): Case {
  let seen = 0
  const count = { frame: () => void seen++, drained() {}, closed() {} }
  const reading = new LinkConnection(new Drain(), count)
  const wire = Object.assign(new Drain(), {
    write(bytes: Buffer, start: number, length: number): number {
      reading.onData(bytes.subarray(start, start + length))
      return length
    },
  })
  const writing = new LinkConnection(wire, count)
  writing.busy = CLIENTS
  const flags = Flag.Ready | Flag.Boundary
  const run = (): void => {
    for (let stream = 1; stream <= CLIENTS; stream++) {
      writing.send(Kind.Data, stream, flags, TransactionStatus.Idle, 0, 1, ANSWER)
    }
    writing.flush()
  }
  return { name: 'link: a frame sent and read', operations: CLIENTS, run }
}

/** From a client's bytes to the link, and from the answer to the client's socket. */
async function gateway(name: string, batch: Buffer, answer: Buffer): Promise<Case> {
  const rig = await gatewayRig(CLIENTS)
  const { sessions, link } = rig
  const answered = rig.answers(answer)
  const turns = new Turns()
  return {
    name,
    operations: CLIENTS,
    chunks() {
      turns.next(link, BATCH_HEAD_BYTES + OPS_BYTES + batch.length)
      return sessions.map(() => Buffer.from(batch))
    },
    run(chunks) {
      sessions.forEach((session, at) => {
        session.data(chunks[at] as Buffer)
        if (at % CLIENTS_PER_TURN === CLIENTS_PER_TURN - 1) link.flush()
      })
      link.onData(answered)
    },
  }
}

/** Four clients for each backend: a batch begins, or waits for the end of another. */
async function handOver(): Promise<Case> {
  const rig = await poolerRig(CLIENTS, BACKENDS)
  const { link, backends } = rig
  const arrived = rig.batches(QUERY)
  const turns = new Turns()
  return {
    name: 'pooler: a batch on the next free backend',
    operations: CLIENTS,
    chunks() {
      turns.next(link, ANSWER.length)
      return Array.from({ length: CLIENTS }, () => Buffer.from(ANSWER))
    },
    run(chunks) {
      link.onData(arrived)
      for (let at = 0; at < CLIENTS; at++) {
        backends[at % BACKENDS]?.onData(chunks[at] as Buffer)
        if (at % BACKENDS === BACKENDS - 1) link.flush()
      }
    },
  }
}

/** The other end's part in the flow of a link's streams. */
class Turns {
  #calls = 0
  #frames = 0

  /** Between two calls, each of which sends one frame of `bytes` on each stream. */
  next(link: LinkConnection, bytes: number): void {
    if (this.#calls > 0) {
      assert(link.framesOut - this.#frames >= CLIENTS, 'nothing waits for what never comes')
      if (this.#calls % CALLS_PER_CREDIT === 0) link.onData(credits(bytes * CALLS_PER_CREDIT))
    }
    this.#calls++
    this.#frames = link.framesOut
  }
}

function credits(bytes: number): Buffer {
  const one = (_: unknown, at: number): Buffer => frame(Kind.Credit, at + 1, 0, bytes, NOTHING)
  return Buffer.concat(Array.from({ length: CLIENTS }, one))
}
