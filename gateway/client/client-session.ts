/** Whatever a client is in once it is let in, as its connection sees it. */
export interface ClientSession {
  /** Process id of its BackendKeyData. */
  readonly number: number
  readonly cancelKey: Buffer
  /** Its socket is not read at present. */
  readonly paused: boolean
  /** The client was told that it is in. `rest` is what it sent behind its startup. */
  begin(rest: Buffer): void
  data(chunk: Buffer): void
  /** The client's socket takes bytes again. */
  drain(): void
  /** The client sends nothing more, and may still read. */
  end(): void
  /** The client is gone. */
  close(): void
  /** A bug: it ends this session alone. */
  crashed(error: unknown): void
}
