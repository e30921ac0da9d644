// `cluster switchover`: another leader, by plan.
import { resolve } from 'node:path'
import { formatNumber } from '../../shared/consensus/rule.ts'
import { duration, string } from '../../shared/config/fields.ts'
import type { SwitchoverReply } from '../../proto/gen/orch.ts'
import { RefusedError } from '../errors.ts'
import { readCommandFlags } from '../flags.ts'
import { commandHelp } from '../help.ts'
import { clusterPaths } from '../local/cluster-dir.ts'
import { DATABASE, SHARD } from '../local/plan.ts'
import { DIR_FIELD, JSON_FIELD } from '../local/start-options.ts'
import { findState, isSupervised, type ClusterState } from '../local/state.ts'
import type { Command } from '../main.ts'

const FIELDS = {
  dir: DIR_FIELD,
  database: string({ default: DATABASE, help: 'Topology database of the shard.' }),
  shard: string({ default: SHARD, help: 'The shard.' }),
  to: string({
    optional: true,
    help: 'Id of the pooler that is to lead; the furthest one if none.',
  }),
  drain: duration({
    default: '5s',
    max: '10min',
    help: 'Time for transactions that are open; everybody is served meanwhile.',
  }),
  json: JSON_FIELD,
}
/** What the steps may take beside the drain: each has a limit of its own. */
const CALL_MS = 90_000

/** `multigres cluster switchover`. */
export const command: Command = {
  help: () =>
    commandHelp({
      name: 'cluster switchover',
      about:
        'Hands the leadership of a shard to another member. Open transactions get time to end, ' +
        'then new statements wait in the gateway, for well under a second, and run at the new ' +
        'leader. Sessions that hold state on their backend (temporary tables, ...) are closed.',
      fields: FIELDS,
      examples: [
        ['multigres cluster switchover', 'to the follower that is furthest'],
        ['multigres cluster switchover --to zone1_pooler2', 'to this one'],
      ],
    }),
  async run(argv) {
    const { values } = readCommandFlags(FIELDS, argv)
    const dir = resolve(values.dir)
    const state = await findState(clusterPaths(dir))
    if (!isSupervised(state)) throw new RefusedError(`${dir}: not running`)
    const { database, shard, to = '', drain } = values
    const reply = await ask(dir, state, { database, shard, targetId: to, drainMs: drain })
    const line = values.json ? JSON.stringify(viewOf(values, reply)) : forPeople(reply)
    process.stdout.write(`${line}\n`)
    return 0
  },
}

type Request = { database: string; shard: string; targetId: string; drainMs: number }

async function ask(dir: string, state: ClusterState, request: Request): Promise<SwitchoverReply> {
  const { callUnary } = await import('../../shared/rpc/client.ts') // 100 ms to load
  const { Orchestrators, tokenOf, withoutMethod } = await import('../local/orchestrators.ts')
  using orchestrators = new Orchestrators(state, tokenOf(dir))
  const [first] = await orchestrators.requireAnswering(request)
  try {
    if (first === undefined) throw new RefusedError('no orchestrator answers')
    const timeoutMs = CALL_MS + request.drainMs
    return await callUnary(first.client, 'switchover', request, { timeoutMs })
  } catch (error) {
    throw new RefusedError(withoutMethod(error), { cause: error })
  }
}

function viewOf({ database, shard }: { database: string; shard: string }, reply: SwitchoverReply) {
  return {
    database,
    shard,
    from: reply.fromId,
    to: reply.toId,
    rule: ruleOf(reply),
    drain_ms: reply.drainedMs,
    pause_ms: reply.pausedMs,
    cut: reply.cut,
  }
}

function forPeople(reply: SwitchoverReply): string {
  const cut = reply.cut === 0 ? '' : `; ${reply.cut} sessions were cut`
  return (
    `${reply.toId} leads by rule ${ruleOf(reply)} in place of ${reply.fromId}: ` +
    `drained ${reply.drainedMs} ms, paused ${reply.pausedMs} ms${cut}`
  )
}

function ruleOf({ rule }: SwitchoverReply): string | null {
  return rule?.number === undefined ? null : formatNumber(rule.number)
}
