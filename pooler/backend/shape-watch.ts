// A statement that a client prepared on one backend is parsed again on others. Between the two its
// tables may have changed: Postgres, which analyses it anew where it was prepared, then fails with
// 0A000, so that no client reads rows of another shape than it was told. A backend that parses it
// for the first time cannot know. So it is described behind each Parse, and what is behind an
// injected one waits for the answer.
//
// Invariant: nothing that names an injected statement reaches Postgres before its shape was
// found to be the one it had when it was first prepared. Where it is another, a Close goes
// first: the message that names it then fails where Postgres would have it fail, and its error
// is told as 0A000.
import type { Shape } from '../../shared/link/shape.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { errorFieldAt, errorResponse, sqlstateOf } from '../../shared/pgwire/error-fields.ts'
import type { MessageScanner } from '../../shared/pgwire/message-scanner.ts'
import { Backend as Message } from '../../shared/pgwire/message-types.ts'
import type { BackendOwner } from './backend-parties.ts'
import type { Definition } from './definition.ts'
import type { ByteSink, OutBuffer } from './out-buffer.ts'
import { Describing, type ReplyOrder } from './reply-order.ts'

const NO_STATEMENT = '26000'
const ANSWERS = [Message.ParameterDescription, Message.RowDescription, Message.NoData]

/** The backend as this needs it. */
export interface Described {
  owner: BackendOwner | undefined
  readonly replies: ReplyOrder
  /** Statements that it does not keep beyond the batch. */
  readonly forgotten: Definition[]
}

/** Compares what one backend describes, and keeps its gates. */
export class ShapeWatch {
  readonly #backend: Described
  readonly #out: OutBuffer
  /** Statements of the batch that are not what they were. */
  #changed: Definition[] = []
  /** What follows in the batch is skipped. */
  #failed = false
  #watching = false

  constructor(backend: Described, out: OutBuffer) {
    this.#backend = backend
    this.#out = out
  }

  /** What is written from here on waits for the shape of the statement before. */
  shut(): void {
    if (!this.#failed) this.#out.shut()
  }

  /** Has the scanner stop at descriptions as long as some are due. */
  follow(scanner: MessageScanner): void {
    if (this.#watching === this.#backend.replies.describes) return
    this.#watching = !this.#watching
    for (const type of ANSWERS) scanner.watch(type, this.#watching)
  }

  /** A description that is too large to look at came. */
  overlooked(type: number): void {
    if (!ANSWERS.includes(type as (typeof ANSWERS)[number])) return
    if (this.#backend.replies.describing) throw new PgError('program_limit_exceeded', 'too large')
  }

  /** The scanner stands at a description. True when it is not the client's. */
  takes(scanner: MessageScanner, sink: ByteSink): boolean {
    const { type, bytes, bodyStart, end } = scanner
    const { replies } = this.#backend
    if (!replies.describing) return false
    if (type === Message.ParameterDescription) {
      replies.parameters = Buffer.from(bytes.subarray(bodyStart, end))
      return true
    }
    const columns = type === Message.NoData ? undefined : bytes.subarray(bodyStart, end)
    const { definition, why, shape } = replies.described(columns)
    this.follow(scanner)
    this.#compare(definition, why, shape, sink)
    return true
  }

  /** What the client is told instead of the error whose body is bytes[start, end). */
  instead(bytes: Buffer, start: number, end: number): Buffer | undefined {
    const changed = this.#changed
    if (changed.length === 0) return undefined
    if (sqlstateOf(bytes, start, end) !== NO_STATEMENT) return undefined
    const body = bytes.subarray(start, end)
    if (!changed.some(({ name }) => body.includes(name))) return undefined
    const at = errorFieldAt(bytes, { start, end }, 'S')
    const severity = at < 0 ? 'ERROR' : bytes.toString('utf8', at, bytes.indexOf(0, at))
    return errorResponse({ severity, severityNonLocalized: 'ERROR', ...CHANGED })
  }

  /** An error: Postgres skips what follows, and answers none of it. */
  failed(sink: ByteSink): void {
    this.#failed = true
    this.#openAll(sink)
  }

  /** The batch is over. */
  end(sink: ByteSink): void {
    this.#failed = false
    if (this.#changed.length > 0) this.#changed = []
    this.#openAll(sink)
  }

  #openAll(sink: ByteSink): void {
    if (!this.#out.gated) return
    this.#out.openAll(sink)
    this.#drained()
  }

  #compare(definition: Definition, why: Describing, shape: Shape, sink: ByteSink): void {
    const { forgotten, owner, replies } = this.#backend
    const own = why === Describing.Own
    const known = definition.shape
    const same = known === undefined || known.equals(shape)
    if (known === undefined) definition.keep(shape)
    if (known === undefined || !same) owner?.backendDescribed?.(definition, shape, own)
    if (!same) forgotten.push(definition)
    if (own || known === undefined) return
    if (why === Describing.Learns || !this.#out.gated) {
      if (same) return
      throw new PgError('internal_error', 'a statement that has changed was not held back')
    }
    const refuses = !same && why === Describing.Refuses
    if (refuses) {
      this.#changed.push(definition)
      replies.closesNow()
    }
    this.#out.open(sink, refuses ? definition.close : undefined)
    this.#drained()
  }

  #drained(): void {
    if (this.#out.waiting === 0) this.#backend.owner?.backendDrained()
  }
}

/** What Postgres says; the line of its source is its version's. */
const CHANGED = {
  code: '0A000',
  message: 'cached plan must not change result type',
  file: 'plancache.c',
  routine: 'RevalidateCachedQuery',
} as const
