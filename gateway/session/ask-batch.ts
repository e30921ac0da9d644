// From what a batch's texts may do to what is asked of the pooler.

import { Look, Pin, PIN_MASK } from '../../shared/link/frame.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { DISCARD_ALL } from '../listen/listen-statement.ts'
import type { Asks } from './asks.ts'
import { runsNothing } from './channel-refusal.ts'
import { COMMIT_SETTING } from './commit-policy.ts'
import type { SessionCore } from './core.ts'
import { SEARCH_PATH } from './temp-path.ts'
import { needsSequences } from './sequence-use.ts'
import { ASK_BITS, Trait } from './traits.ts'

/** What is pinned by these may have set anything, synchronous_commit too. */
const UNSEEN = Pin.Unknown | Pin.NotCleanable | Pin.Settings
const NO_NAMES: readonly string[] = []
/** JSON of the names of one batch: it must fit into a frame. */
const NAMES_BYTES_MAX = 16 * 1024

/** Pins and looks of a batch with these traits, for this session as it is. */
export function maskOf(core: SessionCore, traits: number): number {
  let mask = traits & ASK_BITS
  if (core.explicit) mask |= Pin.Explicit
  if (core.forgetsSequences) mask |= Look.ForgetsSequences
  if ((mask & Pin.Sequence) !== 0 && needsSequences(core)) mask |= Look.NeedsSequences
  if ((traits & Trait.MayWrite) !== 0 && core.reachesTemp) mask |= Pin.TempObjects
  if ((traits & Trait.Resets) !== 0 && (!core.settings.empty || core.up.held)) {
    mask |= Look.Settings
  }
  if ((mask & UNSEEN) !== 0) mask |= Look.Settings
  if ((traits & Trait.ChangesCatalog) !== 0) mask |= Look.Catalog
  if (!core.up.pinned) mask &= ~(Look.Pins | Look.Discards)
  return mask
}

/** Sends the names that a batch is about, ahead of it. The mask that it asks with. */
export function askBatch(core: SessionCore, traits: number, asks: Asks | undefined): number {
  if (asks !== undefined && !runsNothing(core, traits)) tellOfChannels(core, asks)
  let mask = maskOf(core, traits)
  if (mask === 0) return 0
  if ((mask & (Look.Settings | Look.AllSettings)) !== 0) {
    const names = new Set(asks?.names ?? NO_NAMES)
    if (bytesOf(names) > NAMES_BYTES_MAX) {
      mask |= Pin.Settings | Pin.NotCleanable
      names.clear()
    }
    if ((mask & UNSEEN) !== 0) names.add(COMMIT_SETTING)
    if (names.has(SEARCH_PATH)) mask |= Pin.TempObjects // what follows it in the same batch
    if (names.size > 0) core.up.sendNames([...names], asks?.defines ?? NO_NAMES)
  }
  core.host.counters.pinRequests++
  core.askedPins |= mask & PIN_MASK & ~Pin.Explicit
  return mask
}

/** At rest the pooler may listen for the session, or does already. */
function tellOfChannels(core: SessionCore, { channels, ownChannels }: Asks): void {
  const { up, status } = core
  core.channelChange = channels
  if (channels === undefined) {
    if (ownChannels && up.listens) up.sendListen({ own: true })
  } else if (status === TransactionStatus.Idle) {
    if ('listen' in channels || up.listens) up.sendListen(channels)
  } else if ('unlisten' in channels && channels !== DISCARD_ALL && up.listens) {
    up.sendListen({ own: true })
  }
}

function bytesOf(names: ReadonlySet<string>): number {
  let bytes = 0
  for (const name of names) bytes += 6 * name.length // as JSON may escape it
  return bytes
}
