// `cluster durability`: the policy by which commits are acknowledged, shown or changed online.
import type { Rule } from '../../proto/gen/consensus.ts'
import type { OrchClient } from '../../proto/gen/orch.ts'
import { boolean, string } from '../../shared/config/fields.ts'
import { formatNumber } from '../../shared/consensus/rule.ts'
import { callStream, callUnary } from '../../shared/rpc/client.ts'
import { RefusedError, UsageError } from '../errors.ts'
import { readCommandFlags, takeWord } from '../flags.ts'
import { commandHelp } from '../help.ts'
import { askControl } from '../local/control.ts'
import { operator } from '../local/operator.ts'
import { Orchestrators, refusing, requireRunning, tokenOf } from '../local/orchestrators.ts'
import { DATABASE, SHARD } from '../local/plan.ts'
import { DIR_FIELD, JSON_FIELD, policyProblem } from '../local/start-options.ts'
import type { Command } from '../main.ts'
import { openProgress } from '../progress.ts'

const TARGET = { database: DATABASE, shard: SHARD }
/** Three rules, each by a quorum that may be slow. */
const CHANGE_MS = 60_000
/** Events that tell of a step. */
const STEPS = new Set(['durability.began', 'rule.changed', 'durability.ended'])

const FIELDS = {
  dir: DIR_FIELD,
  force: boolean({ default: false, help: 'Also where no loss of a node would be survived.' }),
  reason: string({ optional: true, help: 'Why, for whoever looks later.' }),
  json: JSON_FIELD,
}

/** `multigres cluster durability [POLICY]`. */
export const command: Command = {
  help: () =>
    commandHelp({
      name: 'cluster durability [POLICY]',
      about:
        'Shows the durability policy of the running cluster, or changes it while clients go on: ' +
        'at_least_N (a commit is acknowledged once N nodes have it on disk, the leader among ' +
        'them) or multi_cell_at_least_N (nodes of N cells). Each step is a rule that the quorums ' +
        'of the old and the new policy decide together. Refused while too few nodes stream, and, ' +
        'without --force, where the loss of one node would leave nobody who can lead. With ' +
        'at_least_1 the leader alone is the cohort. Can be repeated where it was interrupted.',
      fields: FIELDS,
      examples: [
        ['multigres cluster durability', 'which one is in force'],
        ['multigres cluster durability at_least_3', 'with five nodes: survive the loss of two'],
      ],
    }),
  async run(argv) {
    const { word: policy, rest } = takeWord(argv, ['--dir', '--reason'])
    const { values } = readCommandFlags(FIELDS, rest)
    const wrong = policy === undefined ? undefined : policyProblem(policy)
    if (wrong !== undefined) throw new UsageError([wrong])
    const { dir, force, reason = '', json } = values
    const state = await requireRunning(dir)
    using orchestrators = new Orchestrators(state, tokenOf(dir))
    const { client, shards } = await orchestrators.best(TARGET)
    const [shard] = shards
    if (shard === undefined) throw new RefusedError('no orchestrator knows the shard yet')
    if (policy === undefined) return show({ durability: shard.durability, rule: shard.rule }, json)
    const request = { ...TARGET, durability: policy, force, by: operator(), reason }
    await using _ = await follow(client, openProgress())
    const call = callUnary(client, 'changeDurability', request, { timeoutMs: CHANGE_MS })
    const { before, rule } = await refusing(call)
    await askControl(state.plan, { op: 'keep durability', durability: policy })
    return show({ durability: policy, rule, before }, json)
  },
}

type Outcome = {
  readonly durability: string
  readonly rule?: Rule | undefined
  readonly before?: string
}

function show({ durability, rule, before }: Outcome, json: boolean): number {
  const number = rule?.number === undefined ? null : formatNumber(rule.number)
  const cohort = rule?.cohort.map(({ id }) => id) ?? []
  const view = { durability, rule: number, cohort, ...(before === undefined ? {} : { before }) }
  const text = `${durability}, by rule ${number ?? 'none'} with ${cohort.join(', ') || 'nobody'}`
  process.stdout.write(`${json ? JSON.stringify(view) : text}\n`)
  return 0
}

/** Tells each step that `client` takes, until disposed. Resolves once it listens. */
async function follow(
  client: OrchClient,
  progress: (text: string) => void,
): Promise<AsyncDisposable> {
  const over = new AbortController()
  const listens = Promise.withResolvers<void>()
  const request = { ...TARGET, follow: true, afterSeq: 0n }
  const running = (async () => {
    const stream = callStream(client, 'events', request, { signal: over.signal })
    let live = false
    for await (const batch of stream) {
      const steps = live ? batch.events.filter(({ kind }) => STEPS.has(kind)) : []
      for (const { text } of steps) progress(text)
      live ||= batch.live
      if (live) listens.resolve()
    }
  })()
    .catch(() => undefined) // steps are told for comfort only
    .finally(listens.resolve)
  await listens.promise
  return {
    async [Symbol.asyncDispose]() {
      over.abort()
      await running
    },
  }
}
