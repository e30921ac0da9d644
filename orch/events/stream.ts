import type { Event, EventBatch, EventsRequest } from '../../proto/gen/orch.ts'
import type { EventJournal } from './journal.ts'

/** What one message holds, so that the largest events fit it. */
const BATCH_EVENTS_MAX = 500

/** All that is kept, in batches, then, when asked to follow, what comes, until `signal`. */
export async function* streamEvents(
  journal: EventJournal,
  request: EventsRequest,
  signal: AbortSignal,
): AsyncGenerator<EventBatch, void, void> {
  const { database, shard, follow, afterSeq } = request
  const wanted = (event: Event): boolean =>
    (database === '' || event.database === database || event.database === '') &&
    (shard === '' || event.shard === shard || event.shard === '')
  using follower = journal.follow() // from before the list is taken: nothing falls between
  const kept = journal.kept.filter((event) => event.seq > afterSeq && wanted(event))
  const last = journal.kept.at(-1)?.seq ?? 0n
  for (let at = 0; at < kept.length; at += BATCH_EVENTS_MAX) {
    yield { events: kept.slice(at, at + BATCH_EVENTS_MAX), lost: 0, live: false }
  }
  if (!follow) return
  yield { events: [], lost: 0, live: true }
  while (!signal.aborted) {
    const { events, lost } = await follower.take(signal)
    const news = events.filter((event) => event.seq > last && wanted(event))
    if (news.length > 0 || lost > 0) yield { events: news, lost, live: true }
  }
}
