// Between a channel and the wire: a line to one node that keeps the order of what is sent. The real
// one is a gRPC stream; a simulation brings its own.
import type { Envelope } from '../../proto/gen/quorum.ts'

/** One connection. It is not opened again: whoever needs another asks the transport. */
export interface Line {
  /**
   * Sends behind all that was sent before. Resolves once the message has left this process;
   * rejects when the line broke first.
   */
  send(envelope: Envelope): Promise<void>
  close(): void
}

/** Who hears what comes by a line. Nothing comes after `closed`. */
export interface LineOwner {
  received(envelope: Envelope): void
  /** Also when it could not be opened. */
  closed(reason: Error): void
}

/** Where a node is. */
export type Peer = { readonly id: string; readonly address: string }

/** Opens a line; never throws, what fails is heard by `closed`, in a later turn. */
export type Transport = (peer: Peer, owner: LineOwner) => Line
