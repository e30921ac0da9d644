// Has the leader change its own rule: who joins its cohort, who leaves it, and its policy.
import { type RuleChange, changedRule } from '../../shared/consensus/rule-change.ts'
import { cohortIds, formatNumber, type Rule } from '../../shared/consensus/rule.ts'
import { ruleToWire } from '../../shared/consensus/wire.ts'
import { callUnary } from '../../shared/rpc/client.ts'
import { wallTimeMs } from '../../shared/time/clock.ts'
import type { ShardContext } from './shard-context.ts'

const TIMEOUT_MS = 15_000

/** What is to change about `rule`, the decided one of a leader that serves. */
export type RuleOrder = {
  readonly rule: Rule
  readonly change: RuleChange
  readonly reason: string
}

/** The rule afterwards. @throws PgError or RpcError saying why it stays as it is. */
export async function changeRule(context: ShardContext, order: RuleOrder): Promise<Rule> {
  const { rule, change, reason } = order
  const createdUnixMs = BigInt(Math.round(wallTimeMs()))
  const next = changedRule(rule, change, { coordinatorId: context.orchId, createdUnixMs })
  const { client, header, learn } = context.callee(rule.leaderId)
  const request = { header, expected: rule.number, rule: ruleToWire(next), reason }
  learn(await callUnary(client, 'updateConsensusRule', request, { timeoutMs: TIMEOUT_MS }))
  const number = formatNumber(next.number)
  const who = cohortIds(next).join(', ')
  const what = `${next.durability} with ${who}: ${reason}`
  const text = `rule ${number} of ${rule.leaderId} is decided, ${what}`
  const member = change.add?.id ?? change.remove ?? ''
  context.tell('rule.changed', { text, member, rule: number, reason })
  return next
}
