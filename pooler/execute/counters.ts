import type { RefusalCode } from './refusal.ts'

/** What the data plane counts: plain numbers on the hot path, read when somebody asks. */
export class Counters {
  batches = 0
  /** Batches that had to wait for a backend. */
  waits = 0
  /** Batches after which the backend was free for the next session. */
  released = 0
  /** Batches that got a backend which another session had had before. */
  handOvers = 0
  /** Looks at what a session holds, and those that found no answer: they pin. */
  looks = 0
  looksFailed = 0
  /** Backends given a session's settings, and those that would not take them. */
  settingUnits = 0
  settingUnitsFailed = 0
  /** Times that a backend was made to forget another session's sequences. */
  sequenceDiscards = 0
  lost = 0
  sessions = 0
  cancels = 0
  /** Cancels not sent, because the backend waited for its standbys: the commit had happened. */
  cancelsWithheld = 0
  backendsOpened = 0
  backendsRefused = 0
  backendsGone = 0
  cleaned = 0
  cleaningFailed = 0
  readonly refused: Record<RefusalCode, number> = {
    watch: 0,
    rule: 0,
    not_serving: 0,
    pool_wait: 0,
    draining: 0,
    canceled: 0,
  }
}
