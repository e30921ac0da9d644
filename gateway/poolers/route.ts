import type { PoolerLink } from './pooler-link.ts'

/** Where the batches of sessions may run. */
export interface Route {
  /**
   * The pooler for the next batch of a session that has no backend: `current`, where its stream is
   * now, as long as that will do. Undefined while there is none: the session waits.
   */
  pick(current: PoolerLink | undefined): PoolerLink | undefined
  /** Whether a session may go on, outside of a transaction, with what it holds on `link`. */
  keeps(link: PoolerLink | undefined): boolean
}
