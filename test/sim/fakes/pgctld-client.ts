// Stands in for the calls of pooler/term/pgctld-client.ts. pgctld is a process of its own: what it
// was told to do goes on when its caller dies, one action at a time.
import { State, type StatusReply } from '../../../proto/gen/pgctld.ts'
import { Code } from '../../../shared/errors/grpc-code.ts'
import { PgError } from '../../../shared/errors/pg-error.ts'
import { RpcError } from '../../../shared/rpc/status.ts'
import { timer } from '../../../shared/time/clock.ts'
import { here, nodeCalled, type NodeParts, self, there } from '../world/here.ts'

type Settings = Readonly<Record<string, string>>
type CloneRequest = {
  readonly host: string
  readonly settings: Settings
  readonly replace: boolean
}

const STATUS_TIMEOUT_MS = 2000
const CLONE_MS = 800
const CLONE_TIMEOUT_MS = 60_000

/** As the real one, of this node. */
export class Pgctld {
  readonly #node = here()

  status(): Promise<StatusReply> {
    return this.#call('status', STATUS_TIMEOUT_MS, async () => {})
  }

  start(settings: Settings, timeoutMs: number): Promise<StatusReply> {
    return this.#act('start', timeoutMs, async ({ postgres, diskFull }) => {
      if (diskFull) throw new PgError('disk_full', 'no space left')
      if (!postgres.running) postgres.start(settings)
    })
  }

  restart(settings: Settings, timeoutMs: number): Promise<StatusReply> {
    return this.#act('restart', timeoutMs, async ({ postgres, diskFull }) => {
      await postgres.stop()
      if (diskFull) throw new PgError('disk_full', 'no space left')
      await there().world.step('pgctld starts Postgres', () => postgres.start(settings), 5)
    })
  }

  stop(timeoutMs: number): Promise<StatusReply> {
    return this.#act('stop', timeoutMs, ({ postgres }) => postgres.stop())
  }

  reload(settings: Settings): Promise<StatusReply> {
    return this.#act('reload', STATUS_TIMEOUT_MS, async ({ postgres }) => {
      postgres.reload(settings)
    })
  }

  promote(timeline: number, timeoutMs: number): Promise<StatusReply> {
    return this.#act('promote', timeoutMs, async (node) => {
      const { postgres } = node
      const { world } = there()
      if (postgres.state === 'primary') return requireTimeline(postgres.data.timeline, timeline)
      await world.step('pgctld promotes', () => postgres.promote(timeline), 20)
      // A moment later or much later it needs its next segment of WAL.
      if (node.noRoom)
        world.after(50 * world.random.next(), undefined, () => {
          postgres.crash('process')
        })
    })
  }

  clone(request: CloneRequest): Promise<StatusReply> {
    return this.#act('clone', CLONE_TIMEOUT_MS, async (node) => {
      const { world, network } = there()
      const { postgres: source, machine } = nodeCalled(request.host)
      const { process } = source
      if (process === undefined || !source.accepting) throw unreachable(request.host)
      await world.step('pgctld copies', () => {}, CLONE_MS)
      if (!process.alive || !network.passes(machine, node.machine)) throw unreachable(request.host)
      if (node.postgres.running)
        throw new PgError('object_not_in_prerequisite_state', 'its Postgres runs')
      const { wal, timeline, history, systemId } = source.data
      const settings = { ...request.settings }
      node.postgres.disk = { wal: wal.slice(), timeline, history, systemId, settings }
      world.note(`${node.id} is a copy of ${request.host} at ${wal.length}`)
    })
  }

  /** A rewind is a copy to everybody but pgctld. */
  hasPgRewind(): Promise<boolean> {
    return Promise.resolve(false)
  }

  [Symbol.dispose](): void {}

  /** One action at a time. */
  #act(
    point: string,
    timeoutMs: number,
    body: (node: NodeParts) => Promise<void>,
  ): Promise<StatusReply> {
    return this.#call(point, timeoutMs, async (node) => {
      const run = node.pgctldBusy.then(() => body(node))
      node.pgctldBusy = run.catch(() => undefined)
      await run
    })
  }

  #call(
    point: string,
    timeoutMs: number,
    body: (node: NodeParts) => Promise<void>,
  ): Promise<StatusReply> {
    const { world } = there()
    const caller = self()
    const node = this.#node
    const { promise, resolve, reject } = Promise.withResolvers<StatusReply>()
    const late = timer(timeoutMs, () => {
      reject(new RpcError(Code.DEADLINE_EXCEEDED, `${point}: no answer`))
    })
    const answer = (settle: () => void): void => {
      world.after(0.2 * world.random.next(), caller, () => {
        late[Symbol.dispose]()
        if (!world.dies(`pgctld ${point}, after`, caller)) settle()
      })
    }
    world.after(0.2 * world.random.next(), caller, () => {
      if (world.dies(`pgctld ${point}, before`, caller)) return
      const { pgctld } = node
      const gone = (): void => answer(() => reject(new RpcError(Code.UNAVAILABLE, 'refused')))
      if (!pgctld.alive) return gone()
      pgctld.onDeath.add(gone)
      world.after(0.1, pgctld, () => {
        body(node).then(
          () => {
            pgctld.onDeath.delete(gone)
            answer(() => resolve(statusOf(node)))
          },
          (error: unknown) => {
            pgctld.onDeath.delete(gone)
            answer(() => reject(error))
          },
        )
      })
    })
    return promise
  }
}

const unreachable = (host: string): PgError =>
  new PgError('connection_failure', `${host} cannot be copied from`)

function requireTimeline(taken: number, wanted: number): void {
  if (taken === wanted) return
  throw new PgError('object_not_in_prerequisite_state', `a primary on ${taken}, not on ${wanted}`)
}

function statusOf({ id, postgres, noRoom }: NodeParts): StatusReply {
  const { disk, state, running, process, pid, starts } = postgres
  return {
    state: running ? stateOf(state, process?.frozen === true) : idle(disk !== undefined),
    pid: running ? pid : 0,
    version: '18.4',
    dataDir: '',
    port: 5432,
    socketDir: '',
    accepting: postgres.accepting && process?.frozen !== true,
    systemIdentifier: disk?.systemId ?? '',
    timeline: disk?.timeline ?? 0,
    message: '',
    inRecovery: state !== 'primary',
    postmasterStartTime: BigInt(starts),
    passfile: id,
    crash: '',
    crashUnixMs: 0n,
    ...(noRoom && { freeBytes: 0n }),
  }
}

const idle = (data: boolean): StatusReply['state'] => (data ? State.STOPPED : State.NOT_INITIALIZED)

function stateOf(state: string, frozen: boolean): StatusReply['state'] {
  if (frozen) return State.FROZEN
  return state === 'starting' ? State.STARTING : State.RUNNING
}
