// With listen_loss = notice: a session whose channels nobody hears any more listens to them anew,
// and its client is told that notifications may have been missed. Without it the client is closed,
// which every driver handles; a notice, few do.
//
// Only at rest: where a batch or a transaction was under way the client is closed.

import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { CONDITIONS } from '../../shared/errors/pg-error.ts'
import { Pin } from '../../shared/link/frame.ts'
import { noticeResponse, sqlstateOf } from '../../shared/pgwire/error-fields.ts'
import { query } from '../../shared/pgwire/frontend.ts'
import { HEADER_BYTES } from '../../shared/pgwire/message-reader.ts'
import type { Claims } from '../session/claims.ts'
import { Mode, type SessionCore } from '../session/core.ts'
import { Before } from '../session/units.ts'
import { FINAL } from '../session/upstream.ts'
import type { ChannelChange } from './listen-statement.ts'

const MISSED = noticeResponse({
  severity: 'WARNING',
  severityNonLocalized: 'WARNING',
  code: '01000',
  message: 'notifications may have been missed',
  detail: 'The connection that listened was lost; the session listens to its channels again.',
  routine: 'multigres',
})

/** A batch is over that has changed the channels so, if it went well. */
export function noteChannels(core: SessionCore, change: ChannelChange): void {
  core.channelChange = undefined
  if (!core.up.listens) core.channels = undefined
  else if (core.failed) return
  else if ('listen' in change) (core.channels ??= new Set()).add(change.listen)
  else if (change.unlisten !== null) core.channels?.delete(change.unlisten)
}

/** Its channels were lost, and it may listen to them again. */
export function mayRelisten(core: SessionCore): boolean {
  const { host, channels, mode, status, unit, up } = core
  if (host.limits.listenLoss !== 'notice' || channels === undefined || up.held) return false
  if (status !== TransactionStatus.Idle || !core.onBoundary) return false
  return (
    mode === Mode.Rest || mode === Mode.Waiting || (mode === Mode.Unit && unit === Before.Listen)
  )
}

/** The pooler's last words say that, and no more. */
export function tellsOfMissed(core: SessionCore, message: Buffer): boolean {
  if (!core.up.listens && core.relisten === undefined) return false
  return sqlstateOf(message, HEADER_BYTES) === CONDITIONS.admin_shutdown.sqlstate
}

/** The session's next step is to listen anew. */
export function relistens(core: SessionCore): void {
  core.up.forget()
  core.extended?.released()
  core.unit = core.before = 0
  core.mode = Mode.Rest
  core.relisten = [...(core.channels ?? [])]
}

export class Relisten {
  readonly #core: SessionCore
  readonly #claims: Claims

  constructor(core: SessionCore, claims: Claims) {
    this.#core = core
    this.#claims = claims
  }

  /** Listens to the next channel. False: the session waits. */
  step(): boolean {
    const core = this.#core
    const [channel] = core.relisten ?? []
    if (channel === undefined) {
      core.relisten = undefined
      core.say(MISSED)
      return true
    }
    if (!this.#claims.claim(core.window.start)) return false
    const text = Buffer.from(`LISTEN "${channel.replaceAll('"', '""')}"`, 'latin1')
    const { up, host } = core
    core.unit = Before.Listen
    core.mode = Mode.Unit
    core.failed = false
    up.begin()
    up.sendListen({ listen: channel })
    const message = query(text.toString())
    host.builder.begin(message, 0)
    host.builder.finish(message.length)
    up.sendBuilt(host.builder, true, Pin.Listen, FINAL)
    return false
  }

  /** One of its LISTENs was answered. False: not well. */
  static answered(core: SessionCore): boolean {
    if (core.failed) return false
    core.relisten?.shift()
    return true
  }
}
