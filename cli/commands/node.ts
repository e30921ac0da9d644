// `cluster node add` and `cluster node remove`: a running cluster with one PostgreSQL more or less.
import { sleep, now } from '../../shared/time/clock.ts'
import { boolean, duration, string } from '../../shared/config/fields.ts'
import { formatDuration } from '../../shared/config/units.ts'
import { formatNumber } from '../../shared/consensus/rule.ts'
import { parsePolicy } from '../../shared/consensus/durability.ts'
import type { ShardStatus } from '../../proto/gen/orch.ts'
import { callUnary } from '../../shared/rpc/client.ts'
import { RefusedError, UsageError } from '../errors.ts'
import { readCommandFlags, takeWord } from '../flags.ts'
import { commandHelp } from '../help.ts'
import { askControl } from '../local/control.ts'
import { Orchestrators, refusing, requireRunning, tokenOf } from '../local/orchestrators.ts'
import { DATABASE, SHARD } from '../local/plan.ts'
import { DIR_FIELD, JSON_FIELD } from '../local/start-options.ts'
import type { Command } from '../main.ts'
import { openProgress } from '../progress.ts'

const POLL_MS = 200
const CALL_MS = 40_000
/** A pooler that was stopped is still taken for alive for a moment. */
const FORGET_MS = 20_000
const TARGET = { database: DATABASE, shard: SHARD }

const ADD_FIELDS = {
  dir: DIR_FIELD,
  cell: string({ optional: true, help: 'Its cell; the one with the fewest nodes if none.' }),
  wait: duration({ default: '10min', help: 'How long to wait until it counts.' }),
  json: JSON_FIELD,
}

const REMOVE_FIELDS = {
  dir: DIR_FIELD,
  clean: boolean({ default: false, help: 'Remove its data, too.' }),
  json: JSON_FIELD,
}

/** `multigres cluster node add`. */
export const add: Command = {
  help: () =>
    commandHelp({
      name: 'cluster node add',
      about:
        'Adds a PostgreSQL to a running cluster: it is copied from the leader, follows it, and ' +
        'is let into the cohort, so that its acknowledgement counts. With at_least_1 it stays an ' +
        'observer.',
      fields: ADD_FIELDS,
      examples: [
        ['multigres cluster node add', 'in the cell with the fewest'],
        ['multigres cluster node add --cell zone2', 'in this one'],
      ],
    }),
  async run(argv) {
    const { values } = readCommandFlags(ADD_FIELDS, argv)
    const { dir, cell, wait, json } = values
    const state = await requireRunning(dir)
    const progress = openProgress()
    const node = await askControl(state.plan, { op: 'add node', cell })
    progress(`${node.id} is started in ${node.cell}`)
    using orchestrators = new Orchestrators(state, tokenOf(dir))
    const shard = await untilCounts(orchestrators, { id: node.id, waitMs: wait, progress })
    const view = { ...node, in_cohort: isMember(shard, node.id), rule: ruleOf(shard) }
    const text = view.in_cohort
      ? `${node.id} is in the cohort of rule ${view.rule}`
      : `${node.id} follows as an observer: ${shard.durability} asks for nobody else`
    process.stdout.write(`${json ? JSON.stringify(view) : text}\n`)
    return 0
  },
}

/** `multigres cluster node remove NAME`. */
export const remove: Command = {
  help: () =>
    commandHelp({
      name: 'cluster node remove NAME',
      about:
        'Sends a node away: the rule without it is decided first, then it is stopped, then it is ' +
        'forgotten. Refused where the shard could not lose one more node afterwards, and for the ' +
        'leader. Can be repeated where it was interrupted.',
      fields: REMOVE_FIELDS,
      examples: [['multigres cluster node remove zone1_pooler4', 'its data stays where it is']],
    }),
  async run(argv) {
    const { word: name, rest } = takeWord(argv, ['--dir'])
    if (name === undefined) throw new UsageError(['name the node: cluster node remove NAME'])
    const { values } = readCommandFlags(REMOVE_FIELDS, rest)
    const { dir, clean, json } = values
    const state = await requireRunning(dir)
    const progress = openProgress()
    using orchestrators = new Orchestrators(state, tokenOf(dir))
    const target = { ...TARGET, poolerId: name }
    const { client } = await orchestrators.best(TARGET)
    const options = { timeoutMs: CALL_MS }
    const { rule } = await refusing(callUnary(client, 'removeMember', target, options))
    const number = rule?.number === undefined ? null : formatNumber(rule.number)
    progress(`rule ${number} is decided without ${name}`)
    if (state.plan.poolers.some(({ id }) => id === name)) {
      await askControl(state.plan, { op: 'remove node', id: name, clean })
      progress(`${name} is stopped`)
    }
    await forget(orchestrators, target)
    const view = { id: name, rule: number, removed: true }
    process.stdout.write(`${json ? JSON.stringify(view) : `${name} is removed`}\n`)
    return 0
  },
}

async function forget(
  orchestrators: Orchestrators,
  target: { database: string; shard: string; poolerId: string },
): Promise<void> {
  const endMs = now() + FORGET_MS
  for (;;) {
    try {
      const { client } = await orchestrators.best(TARGET)
      await refusing(callUnary(client, 'forgetMember', target, { timeoutMs: CALL_MS }))
      return
    } catch (error) {
      if (now() > endMs) throw error
      await sleep(POLL_MS)
    }
  }
}

/** The shard once the node is in its cohort, or follows where nobody else is asked for. */
async function untilCounts(
  orchestrators: Orchestrators,
  options: { id: string; waitMs: number; progress: (text: string) => void },
): Promise<ShardStatus> {
  const { id, waitMs, progress } = options
  const endMs = now() + waitMs
  let told = ''
  for (;;) {
    const [shard] = (await orchestrators.best(TARGET)).shards
    if (shard !== undefined && (isMember(shard, id) || isObserver(shard, id))) return shard
    const problem = shard?.problems.find(({ poolerId }) => poolerId === id)
    const why = problem?.description ?? `${id} is not heard of yet`
    if (why !== told) progress(why)
    told = why
    if (now() > endMs) {
      throw new RefusedError(`${id} does not count after ${formatDuration(waitMs)}: ${why}`)
    }
    await sleep(POLL_MS)
  }
}

function isMember({ rule, poolers }: ShardStatus, id: string): boolean {
  const incarnation = poolers.find((pooler) => pooler.id === id)?.status?.incarnation
  const seat = rule?.cohort.find((member) => member.id === id)
  return seat !== undefined && seat.incarnation === incarnation
}

function isObserver({ durability, poolers }: ShardStatus, id: string): boolean {
  const streams = poolers.find((pooler) => pooler.id === id)?.status?.standby?.receiver
  return parsePolicy(durability).required === 1 && streams === 'streaming'
}

const ruleOf = ({ rule }: ShardStatus): string | null =>
  rule?.number === undefined ? null : formatNumber(rule.number)
