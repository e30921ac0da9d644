// Finds out about clients that went away while their socket is not read.
//
// Bun reports no FIN on a paused socket. poll(2) does, without reading: a client that has closed
// its side and is looked at twice in a row is treated as one that sends nothing more.

import { dlopen, ptr } from 'bun:ffi'
import type { Connection } from './connection.ts'

const POLLRDHUP = 0x2000
const POLLERR_OR_HUP = 0x18

/** One look at one descriptor; true when its peer has closed. */
type Look = (fd: number) => boolean

export class PausedProber {
  #look: Look | undefined
  #suspects = new Set<Connection>()

  /** Looks at the paused ones of `connections`. */
  look(connections: Iterable<Connection>): void {
    const suspects = new Set<Connection>()
    for (const connection of connections) {
      const { session, fd } = connection
      if (session?.paused !== true || fd < 0) continue
      this.#look ??= openLook()
      if (!this.#look(fd)) continue
      if (this.#suspects.has(connection)) session.end()
      else suspects.add(connection)
    }
    this.#suspects = suspects
  }
}

/** Loaded when the first client is paused. Without ffi nobody is found out, and nothing breaks. */
function openLook(): Look {
  try {
    const libc = dlopen('libc.so.6', {
      poll: { args: ['ptr', 'u64', 'i32'], returns: 'i32' },
    } as const)
    const pollfd = new DataView(new ArrayBuffer(8)) // struct pollfd: int, short, short
    const address = ptr(pollfd)
    return (fd) => {
      pollfd.setInt32(0, fd, true)
      pollfd.setInt16(4, POLLRDHUP, true)
      pollfd.setInt16(6, 0, true)
      if (libc.symbols.poll(address, 1, 0) <= 0) return false
      return (pollfd.getInt16(6, true) & (POLLRDHUP | POLLERR_OR_HUP)) !== 0
    }
  } catch {
    return () => false
  }
}
