// Bringing clients to rest before leadership is handed over. First the transactions that are open
// get time while everybody is served as ever; only then nothing new begins, which is the pause that
// clients feel, and what still runs gets a moment. Gateways hold what they could not begin.
import { now, sleep } from '../../shared/time/clock.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { Drainer } from '../term/serving-state.ts'
import type { Executor } from './executor.ts'
import { StreamState } from './stream-state.ts'
import type { Stream } from './stream.ts'

const POLL_MS = 5

/** The data part's side of a hand-over. */
export class HandOverDrain implements Drainer {
  readonly #executor: Executor

  constructor(executor: Executor) {
    this.#executor = executor
  }

  /** Resolves to the number of sessions that are still in something. */
  async drain(limits: { drainMs: number; settleMs: number; paused: () => void }): Promise<number> {
    const open = this.#streams().filter(isInTransaction)
    await until(limits.drainMs, () => open.every((stream) => !isInTransaction(stream)))
    this.#set(true)
    limits.paused()
    await until(limits.settleMs, () => !this.#streams().some(isBusy))
    return this.#streams().filter(isBusy).length
  }

  end(): void {
    this.#set(false)
  }

  #set(draining: boolean): void {
    this.#executor.gate.draining = draining
    this.#executor.sendHealth()
  }

  #streams(): Stream[] {
    return [...this.#executor.links].flatMap(({ streams }) => [...streams.values()])
  }
}

function isInTransaction({ backend, reads }: Stream): boolean {
  return !reads && backend !== undefined && backend.status !== TransactionStatus.Idle
}

function isBusy(stream: Stream): boolean {
  return isInTransaction(stream) || (!stream.reads && stream.state === StreamState.Running)
}

async function until(limitMs: number, condition: () => boolean): Promise<void> {
  const end = now() + limitMs
  while (!condition() && now() < end) await sleep(POLL_MS)
}
