// Stands in for pooler/term/system-session.ts: knows the few queries that are asked through `sql`,
// by their text. What reads and writes rules is in rule-store.ts.
import { formatLsn } from '../../../shared/pgwire/lsn.ts'
import { withDeadline } from '../../../shared/time/clock.ts'
import type { Postgres } from '../postgres/server.ts'
import { lsnOf } from '../postgres/wal.ts'
import { here } from '../world/here.ts'
import { ask } from './ask.ts'

const QUERY_TIMEOUT_MS = 3000

type Query = { readonly point: string; readonly rows: (postgres: Postgres) => unknown[] }

const text = (count: number | undefined): string | null =>
  count === undefined ? null : formatLsn(lsnOf(count))

const QUERIES: ReadonlyArray<[part: string, query: Query]> = [
  ["backend_type = 'walreceiver'", { point: 'looking at replay', rows: probe }],
  ["current_setting('primary_conninfo') AS conninfo", { point: 'looking', rows: view }],
  ['SELECT pid, pg_terminate_backend', { point: 'ending walsenders', rows: endSenders }],
  ['FROM pg_stat_replication', { point: 'looking at followers', rows: followers }],
  [
    "current_setting('synchronous_standby_names') AS names",
    { point: 'reading the list', rows: names },
  ],
  ['pg_terminate_backend', { point: 'ending readers', rows: () => [] }],
]

function probe(postgres: Postgres): unknown[] {
  const { receiver, replayed, end, conninfo } = postgres
  const behind = replayed < end
  if (behind) postgres.replayed = Math.min(end, replayed + 1 + postgres.world.random.integer(9))
  const resting = receiver === undefined ? 'RecoveryRetrieveRetryInterval' : 'RecoveryWalStream'
  const receivers = Number(receiver !== undefined) + Number(conninfo !== '')
  const waiting = behind ? null : resting
  return [{ receivers, waiting, replayed: text(replayed), heldUp: false, paused: false }]
}

function view(postgres: Postgres): unknown[] {
  const { receiver, data, received, replayed, state } = postgres
  const standby = state === 'standby'
  return [
    {
      timeline: data.timeline,
      names: postgres.standbyNames,
      conninfo: postgres.conninfo,
      receiver: receiver === undefined ? null : receiver.streaming ? 'streaming' : 'waiting',
      received_timeline: receiver?.streaming === true ? receiver.timeline : null,
      received: standby ? text(received) : null,
      replayed: standby ? text(replayed) : null,
    },
  ]
}

function followers({ senders }: Postgres): unknown[] {
  return [...senders].map(({ id, streaming, sent, flush }) => ({
    id,
    state: streaming ? 'streaming' : 'startup',
    sent: text(sent),
    flush: text(flush),
    replay: text(flush),
  }))
}

/** All of them, where the real query names some: they are back at once. */
function endSenders({ senders }: Postgres): unknown[] {
  for (const sender of senders) sender.close()
  senders.clear()
  return []
}

function names({ standbyNames }: Postgres): unknown[] {
  return [{ names: standbyNames }]
}

const known = new Map<TemplateStringsArray, Query>()

function queryOf(strings: TemplateStringsArray): Query {
  const found = known.get(strings)
  if (found !== undefined) return found
  const joined = strings.join('')
  const query = QUERIES.find(([part]) => joined.includes(part))?.[1]
  if (query === undefined) throw new Error(`the simulator does not know this query: ${joined}`)
  known.set(strings, query)
  return query
}

/** As the real one, of this node's Postgres. */
export class SystemSession {
  readonly postgres = here().postgres

  sql = (strings: TemplateStringsArray): Promise<unknown[]> => {
    const { point, rows } = queryOf(strings)
    return ask(this.postgres, point, () => rows(this.postgres))
  }

  within<T>(query: PromiseLike<T>, what: string): Promise<T> {
    return withDeadline(Promise.resolve(query), QUERY_TIMEOUT_MS, what)
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
