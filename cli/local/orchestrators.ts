// The orchestrators of a running cluster, as commands call them. One that is frozen or dead costs a
// command a moment, never its outcome: whoever answers is asked.
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type GetShardStatusReply, OrchClient, type ShardStatus } from '../../proto/gen/orch.ts'
import { Code } from '../../shared/errors/grpc-code.ts'
import { callUnary, rpcClient } from '../../shared/rpc/client.ts'
import { RpcError } from '../../shared/rpc/status.ts'
import { now, sleep } from '../../shared/time/clock.ts'
import { RefusedError, messageOf } from '../errors.ts'
import { clusterPaths, readMarker } from './cluster-dir.ts'
import { grpcAddress } from './members.ts'
import { findState, isSupervised, type ClusterState } from './state.ts'

/** How long to wait for a first sign of life. */
const PROBE_MS = 1500
/** One that died is started again within that; and on a machine that is busy all are slow. */
const RESTART_MS = 3000
const BUSY_MS = 6000
const AGAIN_MS = 200

const SLOW = 'does not answer in time'

/** An orchestrator with what it says of its shards, or why it says nothing. */
export type OrchAnswer =
  | { readonly id: string; readonly client: OrchClient; readonly shards: readonly ShardStatus[] }
  | { readonly id: string; readonly client: OrchClient; readonly problem: string }

/** What an orchestrator that answers says. */
export type OrchSpeaks = Extract<OrchAnswer, { shards: unknown }>

/** The state of the cluster in `dir`. @throws RefusedError where none runs. */
export async function requireRunning(dir: string): Promise<ClusterState> {
  if (readMarker(resolve(dir)) === undefined) {
    throw new RefusedError(`${resolve(dir)}: there is no cluster (--dir names its folder)`)
  }
  const state = await findState(clusterPaths(resolve(dir)))
  if (isSupervised(state)) return state
  throw new RefusedError(`${resolve(dir)}: not running (multigres cluster start --dir ${dir})`)
}

/** The token that services of the cluster ask for; undefined where there is none. */
export function tokenOf(dir: string): string | undefined {
  const file = join(clusterPaths(resolve(dir)).secrets, 'token')
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined
}

/** Clients of all orchestrators of one cluster; dispose it. */
export class Orchestrators implements Disposable {
  readonly clients: ReadonlyMap<string, OrchClient>

  constructor({ plan }: ClusterState, token: string | undefined) {
    this.clients = new Map(
      plan.orchs.map((orch) => [orch.id, rpcClient(OrchClient, grpcAddress(orch), { token })]),
    )
  }

  /** Asks all at once how the shards stand. */
  async ask(request: { database: string; shard: string }): Promise<OrchAnswer[]> {
    return await Promise.all(
      [...this.clients].map(async ([id, client]): Promise<OrchAnswer> => {
        try {
          const timeoutMs = PROBE_MS
          const reply: GetShardStatusReply = await callUnary(client, 'getShardStatus', request, {
            timeoutMs,
          })
          return { id, client, shards: reply.shards }
        } catch (error) {
          return { id, client, problem: withoutMethod(error) }
        }
      }),
    )
  }

  /**
   * Those that answer, who knows most first. When nobody does all are asked again for a while.
   * @throws RefusedError naming all otherwise.
   */
  async requireAnswering(request: { database: string; shard: string }): Promise<OrchSpeaks[]> {
    const startedMs = now()
    for (;;) {
      const answers = await this.ask(request)
      const speaking = answers.filter(speaks).toSorted((a, b) => b.shards.length - a.shards.length)
      if (speaking.length > 0) return speaking
      const silent = answers.flatMap((answer) => (speaks(answer) ? [] : answer))
      const patienceMs = silent.some(({ problem }) => problem === SLOW) ? BUSY_MS : RESTART_MS
      if (now() - startedMs >= patienceMs) {
        const why = silent.map(({ id, problem }) => `${id}: ${problem}`).join('; ')
        throw new RefusedError(`no orchestrator answers (${why || 'there is none'})`)
      }
      await sleep(AGAIN_MS)
    }
  }

  /** The one that knows most. @throws RefusedError when none answers. */
  async best(request: { database: string; shard: string }): Promise<OrchSpeaks> {
    const [first] = await this.requireAnswering(request)
    if (first === undefined) throw new RefusedError('no orchestrator answers')
    return first
  }

  [Symbol.dispose](): void {
    for (const client of this.clients.values()) client.close()
  }
}

/** Whether it answered. */
export function speaks(answer: OrchAnswer): answer is OrchSpeaks {
  return 'shards' in answer
}

/** What went wrong, without the name of the call, which people do not know. */
export function withoutMethod(error: unknown): string {
  const text = messageOf(error).replace(/^[a-z]\w*: (?:\d+ )?/, '')
  // What it said itself stands as it is, also about calls of its own that failed.
  if (!(error instanceof RpcError) || error.sqlstate !== undefined) return text
  if (error.code === Code.DEADLINE_EXCEEDED) return SLOW
  return error.code === Code.UNAVAILABLE ? 'nothing listens there' : text
}

/** @throws RefusedError with what the orchestrator said. */
export async function refusing<T>(call: Promise<T>, what = ''): Promise<T> {
  try {
    return await call
  } catch (error) {
    const why = withoutMethod(error)
    throw new RefusedError(what === '' ? why : `${what}: ${why}`, { cause: error })
  }
}
