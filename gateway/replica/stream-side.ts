// One of the two streams of a session that splits its reads: what comes of it while it is the
// present one is the session's to hear; of the other one nothing does.

import { Flag, PinSummary } from '../../shared/link/frame.ts'
import { CONDITIONS } from '../../shared/errors/pg-error.ts'
import { sqlstateOf } from '../../shared/pgwire/error-fields.ts'
import { HEADER_BYTES } from '../../shared/pgwire/message-reader.ts'
import { Backend } from '../../shared/pgwire/message-types.ts'
import type { ParameterVector } from '../poolers/parameter-vector.ts'
import type { Loss, Refusal, StreamOwner } from '../poolers/pooler-link.ts'
import { Mode, type SessionCore } from '../session/core.ts'
import type { SessionSettings } from '../session/session-settings.ts'
import type { SharedStatement } from '../statements/shared-statement.ts'
import { Upstream } from '../session/upstream.ts'
import type { ReadSplit } from './read-split.ts'

const ON_LEADER: Refusal = { code: 'watch', sqlstate: '', message: 'it runs on the leader' }

const CANCELED: Refusal = {
  code: 'canceled',
  sqlstate: CONDITIONS.query_canceled.sqlstate,
  message: 'canceling statement due to user request',
}

export class StreamSide implements StreamOwner {
  readonly up = new Upstream()
  /** Of a follower. */
  readonly reads: boolean
  /** What its pooler holds for the session. */
  settings: SessionSettings | undefined
  readonly #core: SessionCore
  readonly #split: ReadSplit
  /** Its answer is an error that nobody hears: the batch runs on the leader once it is over. */
  #dropping = false

  constructor(core: SessionCore, split: ReadSplit, reads: boolean) {
    this.#core = core
    this.#split = split
    this.reads = reads
  }

  /** It is the session's present one. */
  get #active(): boolean {
    return this.#core.up === this.up && this.#core.mode !== Mode.Closed
  }

  /** The batch under way is a follower's, and the client has got nothing of it. */
  get #untold(): boolean {
    return this.reads && this.#active && this.up.running && this.#core.retained
  }

  /** A stream is opened with the settings that the session has now. */
  opens(): void {
    this.settings = this.#core.settings
    this.#dropping = false
  }

  onOpened(vector: ParameterVector): void {
    this.up.opened = true
    if (this.#active) this.#core.owner.onOpened(vector)
  }

  onFailed(message: Buffer): void {
    if (this.#active && !this.reads) return this.#core.owner.onFailed(message)
    this.up.forget()
    this.#goOn()
  }

  onClosed(message: Buffer): void {
    if (this.#untold) this.#toLeader()
    else if (this.#active && (!this.reads || this.up.running)) {
      return this.#core.owner.onClosed(message)
    }
    this.up.forget()
    this.#goOn()
  }

  onData(
    flags: number,
    status: number,
    pins: number,
    vector: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    const ready = (flags & Flag.Ready) !== 0
    if (!this.#active) return
    if (!this.reads) {
      if (ready) this.#split.ran()
      return this.#core.owner.onData(flags, status, pins, vector, bytes, start, end)
    }
    if (!this.#dropping && this.#untold && (flags & Flag.Error) !== 0) {
      this.#dropping = !isCancel(bytes, start, end)
    }
    if (this.#dropping) {
      this.up.took(end - start, 0)
      if (ready) this.#toLeader()
      return
    }
    // Nothing that a read leaves there is kept: the stream is not used again.
    const holds = ready && (pins & (PinSummary.Transaction | PinSummary.Session)) !== 0
    if (holds) this.settings = undefined
    this.#core.owner.onData(flags, status, holds ? 0 : pins, vector, bytes, start, end)
  }

  onSettings(json: string): void {
    if (!this.#active) return
    this.#core.owner.onSettings(json)
    this.settings = this.#core.settings
  }

  onReshaped(statement: SharedStatement, own: Buffer | undefined): void {
    this.#core.owner.onReshaped(statement, this.#active ? own : undefined)
  }

  statement(id: number): SharedStatement | undefined {
    return this.#core.owner.statement(id)
  }

  onNotification(boundary: boolean, bytes: Buffer, start: number, end: number): void {
    if (this.#active) this.#core.owner.onNotification(boundary, bytes, start, end)
  }

  onRefused(batch: number, refusal: Refusal): void {
    if (!this.#active) return
    const elsewhere = this.reads && refusal.code !== 'canceled' && this.#core.retained
    if (elsewhere && refusal.code !== 'watch') this.#split.shun()
    this.#core.owner.onRefused(batch, elsewhere ? ON_LEADER : refusal)
  }

  onLost(batch: number, sent: boolean, loss: Loss): void {
    if (this.#untold) this.#toLeader()
    else if (this.#active && this.up.running) this.#core.owner.onLost(batch, sent, loss)
    else if (this.#active && !this.reads) this.#core.owner.onLost(batch, sent, loss)
  }

  onCredit(bytes: number): void {
    this.up.credited(bytes)
    if (this.#active) this.#core.owner.onUncongested()
  }

  onUncongested(): void {
    if (this.#active) this.#core.owner.onUncongested()
  }

  onLinkLost(): void {
    if (this.#untold) this.#toLeader()
    else if (this.#active && (!this.reads || this.up.running)) {
      return this.#core.owner.onLinkLost()
    }
    this.up.forget()
    this.#goOn()
  }

  crashed(error: unknown): void {
    this.#core.owner.crashed(error)
  }

  /** The stream is gone: a batch that waits for it to be open looks for another. */
  #goOn(): void {
    if (!this.reads) return
    this.#split.shun()
    if (this.#active) this.#core.owner.resume()
  }

  #toLeader(): void {
    this.#dropping = false
    this.#split.shun()
    this.#core.owner.onRefused(this.up.batch, this.#split.canceled ? CANCELED : ON_LEADER)
  }
}

/** The first error among the messages is one of a cancel or a timeout: the client's own wish. */
function isCancel(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at + HEADER_BYTES < end; at += 1 + bytes.readInt32BE(at + 1)) {
    if (bytes[at] !== Backend.ErrorResponse) continue
    return sqlstateOf(bytes.subarray(at, end), HEADER_BYTES) === CONDITIONS.query_canceled.sqlstate
  }
  return false
}
