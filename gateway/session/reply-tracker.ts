// Which of a batch's extended messages has the backend answered?
//
// Postgres answers in order, so a queue of the message types that were sent tells which one each
// reply belongs to, and which one an error hit. Responses are walked header by header only while
// somebody needs to know: up to the last message that matters, or, in a batch that is not synced
// yet, to its end.

import { Backend, Frontend } from '../../shared/pgwire/message-types.ts'

const HEADER_BYTES = 5
/** Tags of what clears a session's statements, with their NUL. */
const CLEARS = ['DEALLOCATE ALL\0', 'DISCARD ALL\0'].map((tag) => Buffer.from(tag))
/** Answered entries are cut off the queue once they are this many. */
const ANSWERED_MAX = 1024

/** Who needs to know. */
export interface ReplyListener {
  /** The next Parse or Close succeeded. */
  confirm(): void
  /** DEALLOCATE ALL or DISCARD ALL ran. */
  cleared(): void
}

export class ReplyTracker {
  /** Where in the last chunk an ErrorResponse begins; -1 for none. */
  errorAt = -1
  /** Type of the message that the last error hit; 0 when it was none of those tracked. */
  failed = 0
  /** The client's name of the statement that it was about; undefined when it was about none. */
  failedName: string | undefined
  readonly #listener: ReplyListener
  #queue: number[] = []
  #names: (string | undefined)[] = []
  #next = 0
  #matters = 0 // entries from #next on, up to the last one somebody needs the answer of
  #all = false
  #following = false
  #clears = false
  #skip = 0 // bytes of a message that began in an earlier chunk
  #header = 0 // bytes of a cut header that were seen
  readonly #cut = Buffer.alloc(HEADER_BYTES)

  constructor(listener: ReplyListener) {
    this.#listener = listener
  }

  /** Responses have to be shown to `feed`. */
  get active(): boolean {
    return this.#following
  }

  /** Messages not answered yet. */
  get outstanding(): number {
    return this.#queue.length - this.#next
  }

  /** A batch begins; its response will begin on a message boundary. */
  begin(): void {
    this.#queue.length = this.#names.length = this.#next = this.#matters = 0
    this.#skip = this.#header = 0
    this.#all = this.#following = this.#clears = false
  }

  /** From the present message boundary on, every reply counts. */
  followAll(): void {
    this.#all = this.#following = true
  }

  /** From here on, and `cleared` is told. */
  watchClears(): void {
    this.followAll()
    this.#clears = true
  }

  /**
   * An extended message was sent. @param matters somebody needs to know its outcome.
   * @param name what the client calls the statement, where backends call it otherwise.
   */
  sent(type: number, matters: boolean, name?: string): void {
    this.#queue.push(type)
    this.#names.push(name)
    if (!matters) return
    this.#matters = this.#queue.length - this.#next
    this.#following = true
  }

  /** Walks `bytes[start, end)` of the response; `errorAt` and `failed` are set from it. */
  feed(bytes: Buffer, start: number, end: number): void {
    this.errorAt = -1
    let at = start
    if (this.#header > 0) at = this.#finishHeader(bytes, at, end)
    if (this.#skip > 0) {
      const step = Math.min(this.#skip, end - at)
      this.#skip -= step
      at += step
    }
    while (this.#following && end - at >= HEADER_BYTES) {
      const type = bytes[at] as number
      this.#reply(type, bytes, at)
      const next = at + 1 + bytes.readInt32BE(at + 1)
      if (next > end) {
        this.#skip = next - end
        return
      }
      at = next
    }
    if (this.#following && at < end) this.#header = bytes.copy(this.#cut, 0, at, end)
  }

  #finishHeader(bytes: Buffer, start: number, end: number): number {
    const taken = bytes.copy(
      this.#cut,
      this.#header,
      start,
      Math.min(end, start + HEADER_BYTES - this.#header),
    )
    this.#header += taken
    if (this.#header < HEADER_BYTES) return end
    this.#header = 0
    this.#skip = this.#cut.readInt32BE(1) - 4
    this.#reply(this.#cut[0] as number, this.#cut, -1)
    return start + taken
  }

  /** @param at where it begins in `bytes`; -1 when it began in an earlier chunk. */
  #reply(type: number, bytes: Buffer, at: number): void {
    switch (type) {
      case Backend.ParseComplete:
      case Backend.CloseComplete:
        this.#listener.confirm()
        this.#answered()
        break
      case Backend.RowDescription:
      case Backend.NoData:
        // An Execute of a utility such as SHOW sends no RowDescription: this answers a Describe.
        this.#answered()
        break
      case Backend.CommandComplete:
        if (this.#clears && at >= 0 && isClear(bytes, at)) this.#listener.cleared()
        this.#answered()
        break
      case Backend.BindComplete:
      case Backend.EmptyQueryResponse:
      case Backend.PortalSuspended:
        this.#answered()
        break
      case Backend.ErrorResponse:
        // A malformed Sync makes a second error in one answer, which is about no statement.
        if (this.errorAt >= 0) break
        this.errorAt = at
        this.failed = this.#queue[this.#next] ?? 0
        this.failedName = this.#names[this.#next]
        this.#queue.length = this.#names.length = this.#next = this.#matters = 0
        break
      default:
    }
  }

  #answered(): void {
    this.#next++
    if (this.#matters > 0 && --this.#matters === 0 && !this.#all) this.#following = false
    if (this.#next < ANSWERED_MAX) return
    this.#queue.splice(0, this.#next)
    this.#names.splice(0, this.#next)
    this.#next = 0
  }

  /** True when the last error hit a Parse or Close, so that no earlier one is left unanswered. */
  get failedAtChange(): boolean {
    return this.failed === Frontend.Parse || this.failed === Frontend.Close
  }
}

/** Whether the CommandComplete at `at` tells of such a command; one that is cut does not. */
function isClear(bytes: Buffer, at: number): boolean {
  const start = at + HEADER_BYTES
  return CLEARS.some((tag) => {
    const end = Math.min(bytes.length, start + tag.length)
    return bytes.compare(tag, 0, tag.length, start, end) === 0
  })
}
