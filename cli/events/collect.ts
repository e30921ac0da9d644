// All events that a cluster still has: from its orchestrators and, of those that do not answer,
// from their files. Works while a failover goes on, and when nothing runs.
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Event, EventsRequest, OrchClient } from '../../proto/gen/orch.ts'
import { readJournal } from '../../shared/events/journal-file.ts'
import { callStream } from '../../shared/rpc/client.ts'
import type { ClusterPaths } from '../local/cluster-dir.ts'
import { withoutMethod } from '../local/orchestrators.ts'

const ANSWER_MS = 2000

/** Which shards' events. Empty: all. */
export type EventScope = { readonly database: string; readonly shard: string }

/** What was found, and which orchestrators were not heard. */
export type Collected = { readonly events: Event[]; readonly silent: ReadonlyMap<string, string> }

/** Asks all at once. */
export async function collectEvents(
  paths: ClusterPaths,
  clients: ReadonlyMap<string, OrchClient>,
  scope: EventScope,
): Promise<Collected> {
  const silent = new Map<string, string>()
  const asked = await Promise.all(
    [...clients].map(async ([id, client]) => {
      try {
        return await kept(client, { ...scope, follow: false, afterSeq: 0n })
      } catch (error) {
        silent.set(id, withoutMethod(error))
        return filed(paths, id, scope)
      }
    }),
  )
  // Orchestrators that were there once told their part, too.
  const gone = idsOfFiles(paths).filter((id) => !clients.has(id))
  const events = [...asked, ...gone.map((id) => filed(paths, id, scope))].flat()
  return { events, silent }
}

async function kept(client: OrchClient, request: EventsRequest): Promise<Event[]> {
  const events: Event[] = []
  for await (const batch of callStream(client, 'events', request, { timeoutMs: ANSWER_MS })) {
    events.push(...batch.events)
  }
  return events
}

function filed(paths: ClusterPaths, id: string, { database, shard }: EventScope): Event[] {
  return readJournal(join(paths.cache, id)).filter(
    (event) =>
      (database === '' || event.database === database) && (shard === '' || event.shard === shard),
  )
}

function idsOfFiles({ cache }: ClusterPaths): string[] {
  if (!existsSync(cache)) return []
  return readdirSync(cache).filter((id) => existsSync(join(cache, id, 'events.jsonl')))
}
