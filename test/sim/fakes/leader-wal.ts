// Stands in for pooler/replication/leader-wal.ts: the same questions to simulated servers.
import { PgError } from '../../../shared/errors/pg-error.ts'
import type { Postgres } from '../postgres/server.ts'
import { countOf, lsnOf, segmentStart } from '../postgres/wal.ts'
import { here, nodeCalled, self, there } from '../world/here.ts'
import { ask } from './ask.ts'

const TIMEOUT_MS = 2000

type Address = { readonly host: string }

/** As the real one. */
export function readOwnEnd(): Promise<unknown> {
  const { postgres } = here()
  return ask(postgres, 'reading the own end', () => endOf(postgres))
}

/** As the real one. */
export function readLeaderWal({ host }: Address, timelineMin: number): Promise<unknown> {
  return far(host, "reading the leader's WAL", (leader) => {
    const end = endOf(leader)
    return end.timeline < timelineMin ? undefined : { ...end, history: leader.data.history }
  })
}

/** As the real one. */
export function whyNoStream(
  { host }: Address,
  own: { timeline: number; lsn: bigint },
): Promise<string | undefined> {
  return far(host, 'asking for a stream', (leader) => {
    const answer = leader.streamable(own.timeline, segmentStart(countOf(own.lsn)))
    return typeof answer === 'string' && answer.includes('removed') ? answer : undefined
  })
}

function endOf(postgres: Postgres) {
  const { data, state, end, replayed, received = 0 } = postgres
  const count = state === 'primary' ? end : Math.max(replayed, received)
  return { systemId: data.systemId, timeline: data.timeline, lsn: lsnOf(count) }
}

/** A question to another machine's Postgres. */
function far<T>(host: string, point: string, query: (leader: Postgres) => T): Promise<T> {
  const { world, network } = there()
  const asking = self()
  const { postgres: leader, machine } = nodeCalled(host)
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const fail = (): void => reject(new PgError('connection_failure', `no answer of ${host}`))
  world.after(TIMEOUT_MS, asking, fail)
  network.send(asking.machine, machine, () => {
    const { process } = leader
    if (process === undefined || !leader.accepting) return network.sendTo(machine, asking, fail)
    world.after(0, process, () => {
      const found = query(leader)
      network.sendTo(machine, asking, () => {
        if (!world.dies(point, asking)) resolve(found)
      })
    })
  })
  return promise
}
