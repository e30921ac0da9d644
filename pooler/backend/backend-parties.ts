// The two whom a backend knows: who has it at the moment, and who keeps it.
import type { SettingsTable } from '../settings/settings-set.ts'
import type { Shape } from '../../shared/link/shape.ts'
import type { Definition } from './definition.ts'
import type { Backend } from './backend.ts'
import type { Barrier } from './barrier.ts'
import type { Loss } from './loss.ts'
import type { VectorTable } from './parameters.ts'

/** Who gets what a backend sends. Methods of the hot path take plain arguments. */
export interface BackendOwner {
  /**
   * Raw messages bytes[start, end), cut anywhere. `flags` are the link's towards the gateway;
   * `status` is ReadyForQuery's when `Flag.Ready` is set. Bytes may be kept, not written to.
   */
  backendData(bytes: Buffer, start: number, end: number, flags: number, status: number): void
  /** A chunk has been passed on to its end: whether any of its bytes are still to be read. */
  backendKeeps(chunk: Buffer): boolean
  /** The batch is over, and all that came with its ReadyForQuery has been passed on. */
  backendReady(status: number): void
  /** All that was written has been handed to the kernel. */
  backendDrained(): void
  /** A cancel that was under way is done: the next batch may begin. */
  backendCancelDone(): void
  /** Whether it hears notifications of this channel by another way already. */
  backendHears?(channel: string): boolean
  /** What a statement is now; `own`: as the client's own Parse has made it. */
  backendDescribed?(definition: Definition, shape: Shape, own: boolean): void
  /** The connection is gone; nothing follows. */
  backendLost(loss: Loss): void
}

/** What backends report to whoever keeps them, and share. */
export interface BackendHost {
  readonly vectors: VectorTable
  readonly settings: SettingsTable
  readonly limits: { readonly cancelTimeoutMs: number; readonly messageBytesMax: number }
  /** Milliseconds of the owner's clock, coarse. */
  nowMs: number
  backendOpened(backend: Backend): void
  /** It could not connect; `final` when trying again cannot help. */
  backendRefused(backend: Backend, refusal: Buffer | undefined, final: boolean): void
  /** Its socket is closed, after it had been open. */
  backendGone(backend: Backend, loss: Loss): void
  /** No cancel of it is under way any more; it may be handed on, or go on. */
  cancelDone(backend: Backend): void
  /** Asked for each chunk: whether it may reach a client. False: owners have let go by now. */
  mayDeliver(): boolean
  /** What stands between backends and clients after a commit without its quorum. */
  readonly barrier: Barrier
  /** The process id that clients know the notifier by whose backend has `pid`. */
  sessionOf(pid: number): number
}
