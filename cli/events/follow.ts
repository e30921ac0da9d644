// Events as they happen, from all orchestrators. One that goes away is asked again until it is
// back: what it wrote meanwhile comes then.
import type { Event, OrchClient } from '../../proto/gen/orch.ts'
import { callStream } from '../../shared/rpc/client.ts'
import { sleep, timer } from '../../shared/time/clock.ts'
import { withoutMethod } from '../local/orchestrators.ts'
import type { EventScope } from './collect.ts'

const AGAIN_MS = 500
/** The events that are kept come first, from all that answer within this time. */
const BEGIN_MS = 2000

/** Who listens. */
export type FollowListener = {
  /** All that was kept, once. */
  begin(events: readonly Event[]): void
  /** One more. */
  event(event: Event): void
  /** For people: an orchestrator went silent, or is back. */
  note(text: string): void
}

/** Until `signal`. Never rejects. */
export async function followEvents(
  clients: ReadonlyMap<string, OrchClient>,
  scope: EventScope,
  { listener, signal }: { listener: FollowListener; signal: AbortSignal },
): Promise<void> {
  const waiting = new Set(clients.keys())
  let kept: Event[] | undefined = []
  const begin = (): void => {
    if (kept === undefined) return
    const events = kept
    kept = undefined
    listener.begin(events)
  }
  using _ = timer(BEGIN_MS, begin)
  const take = (id: string, events: readonly Event[], live: boolean): void => {
    if (kept !== undefined) kept.push(...events)
    else for (const event of events) listener.event(event)
    if (live && waiting.delete(id) && waiting.size === 0) begin()
  }
  await Promise.all(
    [...clients].map(([id, client]) =>
      followOne(client, scope, { id, take, note: (text) => listener.note(text), signal }),
    ),
  )
}

async function followOne(
  client: OrchClient,
  scope: EventScope,
  options: {
    readonly id: string
    readonly take: (id: string, events: readonly Event[], live: boolean) => void
    readonly note: (text: string) => void
    readonly signal: AbortSignal
  },
): Promise<void> {
  const { id, take, note, signal } = options
  let afterSeq = 0n
  let silent = false
  while (!signal.aborted) {
    try {
      const request = { ...scope, follow: true, afterSeq }
      for await (const { events, lost, live } of callStream(client, 'events', request, {
        signal,
      })) {
        if (silent) note(`${id} answers again`)
        silent = false
        if (lost > 0) note(`${lost} events of ${id} came too fast and are missing here`)
        take(id, events, live)
        afterSeq = events.at(-1)?.seq ?? afterSeq
      }
    } catch (error) {
      if (!silent && !signal.aborted) note(`${id}: ${withoutMethod(error)}; asking again`)
      silent = true
    }
    await sleep(AGAIN_MS, signal).catch(() => undefined) // ended
  }
}
