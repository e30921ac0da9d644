// `cluster recovery pause|resume|trigger|status`: an operator's hand on the orchestrators.
import type { ShardStatus } from '../../proto/gen/orch.ts'
import { formatNumber } from '../../shared/consensus/rule.ts'
import { boolean, duration, list, string } from '../../shared/config/fields.ts'
import { now, sleep } from '../../shared/time/clock.ts'
import { RefusedError, UsageError } from '../errors.ts'
import { readCommandFlags } from '../flags.ts'
import { commandHelp } from '../help.ts'
import { DATABASE, SHARD } from '../local/plan.ts'
import { DIR_FIELD, JSON_FIELD, policyProblem } from '../local/start-options.ts'
import {
  type OrchAnswer,
  Orchestrators,
  refusing,
  requireRunning,
  speaks,
  tokenOf,
} from '../local/orchestrators.ts'
import { operator } from '../local/operator.ts'
import { recoveryLines, recoveryView, type RecoveryView } from '../local/recovery-view.ts'
import { callUnary } from '../../shared/rpc/client.ts'
import type { Command } from '../main.ts'

const SCOPE_FIELDS = {
  dir: DIR_FIELD,
  database: string({ default: DATABASE, help: 'Topology database.' }),
  shard: string({ optional: true, help: 'Only this shard; without it all of the database.' }),
}
const CHANGE_FIELDS = {
  ...SCOPE_FIELDS,
  reason: string({ optional: true, help: 'Why, for whoever looks later.' }),
  wait: duration({
    default: '10s',
    max: '10min',
    help: 'How long every orchestrator gets to confirm it.',
  }),
  json: JSON_FIELD,
}
const TRIGGER_FIELDS = {
  ...SCOPE_FIELDS,
  wait: duration({
    default: '30s',
    max: '10min',
    help: 'How long it may go on while something is left to do.',
  }),
  json: JSON_FIELD,
}
const STATUS_FIELDS = { ...SCOPE_FIELDS, json: JSON_FIELD }

const OVERRIDE_FIELDS = {
  dir: DIR_FIELD,
  database: string({ default: DATABASE, help: 'Topology database of the shard.' }),
  shard: string({ default: SHARD, help: 'The shard.' }),
  lost: list({ default: '', help: 'Ids of the members that are lost for good.' }),
  durability: string({
    optional: true,
    help: 'The policy from now on, where those that are left cannot satisfy the present one.',
    check: policyProblem,
  }),
  certify: boolean({ default: false, help: 'Your word that they will never come back.' }),
  reason: string({ optional: true, help: 'Why, for whoever looks later.' }),
  json: JSON_FIELD,
}

const OVERRIDE_MS = 90_000
const WRITE_MS = 8000
const CONFIRM_POLL_MS = 100
/** What a triggered orchestrator may take to answer after its time. */
const ANSWER_MS = 5000

/** `multigres cluster recovery pause`. */
export const pause: Command = {
  help: () =>
    commandHelp({
      name: 'cluster recovery pause',
      about:
        'Keeps all orchestrators from doing anything to the shards: no failover, no copy, no ' +
        'repair, until resume. They go on watching and tell what they would do (cluster events). ' +
        'It is kept in the topology, so that it holds for orchestrators that start later, too. ' +
        'What is under way is finished: the command returns once nothing runs any more.\n' +
        'While it is paused, a leader that dies is NOT replaced.',
      fields: CHANGE_FIELDS,
      examples: [
        ['multigres cluster recovery pause --reason "new disks"', 'before work on the machines'],
        ['multigres cluster recovery resume', 'afterwards'],
      ],
    }),
  run: (argv) => change(argv, true),
}

/** `multigres cluster recovery resume`. */
export const resume: Command = {
  help: () =>
    commandHelp({
      name: 'cluster recovery resume',
      about:
        'Lets the orchestrators act again. It ends a pause, and it lifts the stop that follows ' +
        'when one query has killed leader after leader: the count begins anew.',
      fields: CHANGE_FIELDS,
      examples: [['multigres cluster recovery resume', 'for all shards of the database']],
    }),
  run: (argv) => change(argv, false),
}

/** `multigres cluster recovery trigger`. */
export const trigger: Command = {
  help: () =>
    commandHelp({
      name: 'cluster recovery trigger',
      about:
        'Has one orchestrator do now what is to be done, without waiting for its turn or after a ' +
        'failure, and also while recovery is paused; it ends when nothing is left to do. Exit ' +
        'code 0 when no problem is left that somebody could act on, 1 otherwise.',
      fields: TRIGGER_FIELDS,
      examples: [
        ['multigres cluster recovery trigger', 'repair now'],
        ['multigres cluster recovery trigger --wait 5min', 'let it wait for copies, too'],
      ],
    }),
  async run(argv) {
    const { values } = readCommandFlags(TRIGGER_FIELDS, argv)
    const { dir, database, shard = '', wait } = values
    using orchs = new Orchestrators(await requireRunning(dir), tokenOf(dir))
    const scope = { database, shard }
    const [first] = await orchs.requireAnswering(scope)
    if (first === undefined) throw new RefusedError('no orchestrator answers')
    const request = { ...scope, waitMs: wait, by: operator() }
    const reply = await refusing(
      callUnary(first.client, 'triggerRecovery', request, { timeoutMs: wait + ANSWER_MS }),
    )
    const answer = { ...first, shards: reply.shards }
    const view = { ...recoveryView([answer]), by: first.id, done: reply.done }
    const lines = [
      ...reply.done.map((what) => `${first.id}: ${what}`),
      ...(reply.done.length === 0 ? [`${first.id}: there was nothing to do`] : []),
      ...recoveryLines(view),
    ]
    print(values.json ? JSON.stringify(view) : lines.join('\n'))
    return reply.shards.some(({ problems }) => problems.some(({ action }) => action !== '')) ? 1 : 0
  },
}

/** `multigres cluster recovery override`. */
export const override: Command = {
  help: () =>
    commandHelp({
      name: 'cluster recovery override',
      about:
        'Appoints a leader although too many members are lost for a safe appointment. You ' +
        'certify which ones will NEVER come back with what they have: machines that are ' +
        'destroyed, not ones that are cut off, which may still answer clients elsewhere. ' +
        'Acknowledged writes that only they had are lost. Everybody else of the cohort has to ' +
        'be there, and the most advanced of them leads. Refused while somebody leads, while a ' +
        'safe appointment is possible, and while one of the lost answers.',
      fields: OVERRIDE_FIELDS,
      examples: [
        [
          'multigres cluster recovery override --lost zone1_pooler2,zone1_pooler3 --certify ' +
            '--durability at_least_1',
          '',
        ],
      ],
    }),
  async run(argv) {
    const { values } = readCommandFlags(OVERRIDE_FIELDS, argv)
    const { dir, database, shard, lost, durability = '', reason = '' } = values
    if (lost.length === 0) throw new UsageError(['--lost: which members are lost for good?'])
    if (!values.certify) {
      const names = lost.join(', ')
      throw new UsageError([`--certify says that ${names} will never come back: see --help`])
    }
    using orchs = new Orchestrators(await requireRunning(dir), tokenOf(dir))
    const [first] = await orchs.requireAnswering({ database, shard })
    if (first === undefined) throw new RefusedError('no orchestrator answers')
    const by = operator()
    const request = { database, shard, lostIds: [...lost], durability, by, reason }
    const call = callUnary(first.client, 'override', request, { timeoutMs: OVERRIDE_MS })
    const { rule } = await refusing(call)
    const number = rule?.number === undefined ? null : formatNumber(rule.number)
    const cohort = rule?.cohort.map(({ id }) => id) ?? []
    const view = { database, shard, leader: rule?.leaderId ?? null, rule: number, cohort }
    const text = `${view.leader} leads by rule ${number}, with ${cohort.join(', ')}`
    print(values.json ? JSON.stringify({ ...view, durability: rule?.durability ?? null }) : text)
    return 0
  },
}

/** `multigres cluster recovery status`. */
export const status: Command = {
  help: () =>
    commandHelp({
      name: 'cluster recovery status',
      about:
        'Shows for each shard and orchestrator whether it may act, what it does, what it found ' +
        'wrong, and what it does or would do about that.',
      fields: STATUS_FIELDS,
      examples: [['multigres cluster recovery status', 'for people']],
    }),
  async run(argv) {
    const { values } = readCommandFlags(STATUS_FIELDS, argv)
    const { dir, database, shard = '' } = values
    using orchs = new Orchestrators(await requireRunning(dir), tokenOf(dir))
    await orchs.requireAnswering({ database, shard }).then((answers) => {
      requireShards(answers, { database, shard })
    })
    const view = recoveryView(await orchs.ask({ database, shard }))
    print(values.json ? JSON.stringify(view) : recoveryLines(view).join('\n'))
    return 0
  },
}

async function change(argv: readonly string[], paused: boolean): Promise<number> {
  const { values } = readCommandFlags(CHANGE_FIELDS, argv)
  const { dir, database, shard = '', reason = '', wait } = values
  using orchs = new Orchestrators(await requireRunning(dir), tokenOf(dir))
  const scope = { database, shard }
  const answering = await orchs.requireAnswering(scope)
  requireShards(answering, scope)
  const request = { ...scope, paused, reason, by: operator() }
  const [first] = answering
  if (first === undefined) throw new RefusedError('no orchestrator answers')
  const what = paused ? 'recovery is not paused' : 'recovery is not resumed'
  await refusing(callUnary(first.client, 'setRecovery', request, { timeoutMs: WRITE_MS }), what)
  const { answers, pending } = await untilConfirmed(orchs, { scope, paused, waitMs: wait })
  const view: RecoveryView = recoveryView(answers)
  print(values.json ? JSON.stringify(view) : recoveryLines(view).join('\n'))
  if (pending.length === 0) return 0
  const done = paused ? 'paused' : 'resumed'
  throw new RefusedError(`${done} in the topology, but not confirmed: ${pending.join('; ')}`)
}

/** Every orchestrator has heard of it and, when paused, does nothing any more. */
async function untilConfirmed(
  orchs: Orchestrators,
  options: { scope: { database: string; shard: string }; paused: boolean; waitMs: number },
): Promise<{ answers: OrchAnswer[]; pending: string[] }> {
  const end = now() + options.waitMs
  for (;;) {
    const answers = await orchs.ask(options.scope)
    const pending = answers.flatMap((answer) => pendingOf(answer, options.paused))
    if (pending.length === 0 || now() > end) return { answers, pending }
    await sleep(CONFIRM_POLL_MS)
  }
}

function pendingOf(answer: OrchAnswer, paused: boolean): string[] {
  const { id } = answer
  if (!speaks(answer)) {
    const risk = paused ? ' and may still act' : ''
    return [`${id} ${answer.problem}${risk}`]
  }
  return answer.shards.flatMap((shard: ShardStatus) => {
    const name = `${shard.database}/${shard.shard}`
    if (shard.recovery?.paused !== paused) return [`${id} has not heard of it yet`]
    const running = paused ? (shard.recovery?.running ?? []) : []
    return running.map((action) => `${id} still does this to ${name}: ${action}`)
  })
}

function requireShards(
  answers: readonly { readonly shards: readonly ShardStatus[] }[],
  { database, shard }: { database: string; shard: string },
): void {
  if (answers.some(({ shards }) => shards.length > 0)) return
  const name = shard === '' ? database : `${database}/${shard}`
  throw new RefusedError(`no orchestrator knows ${name} (multigres cluster status shows what is)`)
}

const print = (text: string): void => void process.stdout.write(`${text}\n`)
