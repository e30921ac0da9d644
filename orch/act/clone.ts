import type { Rule, RuleNumber } from '../../shared/consensus/rule.ts'
import { ruleToWire } from '../../shared/consensus/wire.ts'
import { callUnary } from '../../shared/rpc/client.ts'
import type { ShardContext } from './shard-context.ts'

const TIMEOUT_MS = 20_000

/**
 * Has a member begin to copy another. It goes on by itself: its status shows how far it is.
 * @throws RpcError when it refuses or cannot be reached.
 */
export async function clone(
  context: ShardContext,
  order: {
    readonly member: string
    readonly source: string
    readonly rule: Rule
    readonly replace: boolean
    /** The newest rule known to be decided. */
    readonly decided: RuleNumber
  },
): Promise<void> {
  const { client, header, learn } = context.callee(order.member)
  const { address } = context.callee(order.source)
  const { rule, source: sourceId, replace, decided } = order
  const request = { header, rule: ruleToWire(rule), sourceId, ...address, replace, decided }
  learn(await callUnary(client, 'cloneFrom', request, { timeoutMs: TIMEOUT_MS }))
  context.log.info('cloning', { member: order.member, source: sourceId, replace })
}
