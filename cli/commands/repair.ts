// `cluster node repair`: an operator's word that a node that is left alone is to be tried again.
import type { ShardStatus } from '../../proto/gen/orch.ts'
import { boolean, duration, string } from '../../shared/config/fields.ts'
import { formatDuration } from '../../shared/config/units.ts'
import { callUnary } from '../../shared/rpc/client.ts'
import { now, sleep } from '../../shared/time/clock.ts'
import { RefusedError, UsageError } from '../errors.ts'
import { readCommandFlags, takeWord } from '../flags.ts'
import { commandHelp } from '../help.ts'
import { operator } from '../local/operator.ts'
import { Orchestrators, refusing, requireRunning, tokenOf } from '../local/orchestrators.ts'
import { DATABASE, SHARD } from '../local/plan.ts'
import { DIR_FIELD, JSON_FIELD } from '../local/start-options.ts'
import type { Command } from '../main.ts'
import { openProgress } from '../progress.ts'

const CALL_MS = 20_000
const POLL_MS = 200
const TARGET = { database: DATABASE, shard: SHARD }
const QUARANTINED = 'MEMBER_QUARANTINED'
/** Every orchestrator has heard by then that it is not any more. */
const HEARD_MS = 3000

const FIELDS = {
  dir: DIR_FIELD,
  copy: boolean({ default: false, help: 'Give its data up at once, and copy the leader.' }),
  reason: string({ optional: true, help: 'Why, for whoever looks later.' }),
  wait: duration({ default: '10min', help: 'How long to wait until it follows; 0s: not at all.' }),
  json: JSON_FIELD,
}

/** `multigres cluster node repair NAME`. */
export const command: Command = {
  help: () =>
    commandHelp({
      name: 'cluster node repair NAME',
      about:
        'Has a quarantined node tried again. A node is quarantined when its PostgreSQL did not ' +
        'stay up, not even after its data was copied anew three times: then nothing more is done ' +
        'about it (cluster status shows why), until this. Mend the cause first: a disk, a port, ' +
        'a setting. It is started a few times; where that is in vain the leader is copied.\n' +
        '--copy has any follower copied at once, whatever it has; refused for the leader, and ' +
        'where the others would be too few while it is copied.',
      fields: FIELDS,
      examples: [
        ['multigres cluster node repair zone1_pooler2', 'try it again'],
        ['multigres cluster node repair zone1_pooler2 --copy', 'do not trust what it has'],
      ],
    }),
  async run(argv) {
    const { word: name, rest } = takeWord(argv, ['--dir', '--reason', '--wait'])
    if (name === undefined) throw new UsageError(['name the node: cluster node repair NAME'])
    const { values } = readCommandFlags(FIELDS, rest)
    const { dir, copy, reason = '', wait, json } = values
    using orchestrators = new Orchestrators(await requireRunning(dir), tokenOf(dir))
    const progress = openProgress()
    const { client } = await orchestrators.best(TARGET)
    const request = { ...TARGET, poolerId: name, copy, by: operator(), reason }
    const call = callUnary(client, 'repairMember', request, { timeoutMs: CALL_MS })
    const { was } = await refusing(call)
    progress(copy ? `${name} is to be copied anew` : `${name} is tried again`)
    const follows = wait > 0
    if (follows) await untilFollows(orchestrators, { id: name, waitMs: wait, progress })
    const view = { id: name, was: was || null, copy, follows }
    const text = follows ? `${name} follows the leader` : `${name} is being repaired`
    process.stdout.write(`${json ? JSON.stringify(view) : text}\n`)
    return 0
  },
}

/** @throws RefusedError when it is left alone again, or not mended in time. */
async function untilFollows(
  orchestrators: Orchestrators,
  options: { id: string; waitMs: number; progress: (text: string) => void },
): Promise<void> {
  const { id, waitMs, progress } = options
  const beganMs = now()
  const endMs = beganMs + waitMs
  let told = ''
  for (;;) {
    const [shard] = (await orchestrators.best(TARGET)).shards
    if (shard !== undefined && follows(shard, id)) return
    const problem = shard?.problems.find(({ poolerId }) => poolerId === id)
    const why = problem?.description ?? `${id} does not follow yet`
    const again = problem?.code === QUARANTINED && now() > beganMs + HEARD_MS
    if (again) throw new RefusedError(why)
    if (why !== told) progress(why)
    told = why
    if (now() > endMs) {
      throw new RefusedError(`${id} does not follow after ${formatDuration(waitMs)}: ${why}`)
    }
    await sleep(POLL_MS)
  }
}

/** By its own word: what it was given up for is over, and it streams. */
function follows({ poolers }: ShardStatus, id: string): boolean {
  const { status } = poolers.find((pooler) => pooler.id === id) ?? {}
  if (status === undefined || status.diverged !== '' || status.action?.name !== '') return false
  return status.standby?.receiver === 'streaming'
}
