// What the end of a batch means to the session beside its answer.

import { Pin } from '../../shared/link/frame.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { SessionCore } from './core.ts'
import type { Extended } from './extended.ts'
import { Pooling } from './mentions.ts'

/** What the batch has set by `SET multigres.*` holds from here on. */
export function setPooling(core: SessionCore): void {
  const { pooling } = core
  core.pooling = Pooling.None
  if (pooling >= Pooling.Replica) return setReads(core, pooling)
  const byDefault = pooling === Pooling.Default && core.explicitByDefault
  core.explicit = pooling === Pooling.Session || byDefault
  // The pooler keeps what was asked for until the stream ends; another has the same settings.
  const only = core.askedPins === 0 && core.settings.pairs !== undefined
  const { pinned, listens } = core.up
  if (!core.explicit && pinned && !listens && only && core.status === TransactionStatus.Idle) {
    core.up.close()
    core.extended?.released()
  }
}

function setReads(core: SessionCore, reads: number): void {
  const byDefault = reads === Pooling.ReadsDefault && core.readsByDefault
  core.reads = (reads === Pooling.Replica && core.host.followers !== undefined) || byDefault
}

/** What the client believes to have prepared, now that the batch is over. */
export function settle(core: SessionCore, extended: Extended): void {
  const { failed, undone, query, up, clears, status } = core
  if (!failed) {
    extended.statements.settle()
    if (clears) extended.statements.cleared()
  } else if (!undone) extended.failed()
  if (query) extended.queried()
  if (!up.held) extended.released()
  else if (status === TransactionStatus.Idle && (core.askedPins & Pin.Listen) !== 0) {
    extended.rested() // its channels may have been moved there
  }
  extended.started()
}
