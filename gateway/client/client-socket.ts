/**
 * The part of a client's connection that a session needs; plain, TLS and unix sockets of Bun all
 * have it, and the adapter for direct TLS.
 */
export interface ClientSocket {
  /**
   * Bytes taken of `bytes[start, start + length)`; fewer when the peer does not read, -1 once gone.
   */
  write(bytes: Uint8Array, start: number, length: number): number
  pause(): void
  resume(): void
  /** Closes after what was taken is sent. */
  end(): void
  /** Closes at once. */
  terminate(): void
}
