// The channels of a session that listens without a backend cannot move to one in a transaction.

import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { SessionCore } from './core.ts'
import type { Mentions } from './mentions.ts'
import { DISCARD_ALL } from '../listen/listen-statement.ts'
import { Trait } from './traits.ts'

/**
 * What reaches its channels cannot run now. In a failed transaction nothing does; only what ends it
 * could be followed by more.
 * @param begins the batch begins with it: at rest the channels move first.
 */
export function keepsChannels(core: SessionCore, begins: boolean): boolean {
  const { up, status } = core
  if (!up.listens || status === TransactionStatus.Failed) return false
  return !begins || status !== TransactionStatus.Idle
}

/**
 * Whether a text reaches the channels that the session hears; LISTEN itself only adds one.
 * @param inBlock it runs first in a batch, in a transaction block: DISCARD ALL fails there anyway.
 */
export function reachesChannels({ channels, ownChannels }: Mentions, inBlock: boolean): boolean {
  if (inBlock && channels === DISCARD_ALL) return false
  return ownChannels || (channels !== undefined && 'unlisten' in channels)
}

/** A failed transaction runs nothing of a batch that does not end it. */
export function runsNothing({ status }: SessionCore, traits: number): boolean {
  return status === TransactionStatus.Failed && (traits & (Trait.RollsBack | Trait.MayCommit)) === 0
}
