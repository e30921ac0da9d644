import { SetPrimaryReply_Outcome as Outcome } from '../../proto/gen/pooler.ts'
import type { Rule, RuleNumber } from '../../shared/consensus/rule.ts'
import { ruleToWire } from '../../shared/consensus/wire.ts'
import { callUnary } from '../../shared/rpc/client.ts'
import type { ShardContext } from './shard-context.ts'

const TIMEOUT_MS = 25_000

/**
 * Tells a member who leads. False when it finds that it has diverged: its status says so, too.
 * @throws RpcError when it refuses or cannot be reached.
 */
export async function follow(
  context: ShardContext,
  order: {
    readonly member: string
    readonly source: string
    readonly rule: Rule
    /** The newest rule known to be decided. */
    readonly decided: RuleNumber
  },
): Promise<boolean> {
  const { client, header } = context.callee(order.member)
  const { address } = context.callee(order.source)
  const { source: leaderId, decided } = order
  const request = { header, rule: ruleToWire(order.rule), leaderId, ...address, decided }
  const reply = await callUnary(client, 'setPrimary', request, { timeoutMs: TIMEOUT_MS })
  const { outcome, reason } = reply
  const { member } = order
  if (outcome === Outcome.FOLLOWING) context.log.info('follows', { member, source: leaderId })
  else context.log.error('cannot follow', { member, outcome, reason })
  return outcome === Outcome.FOLLOWING
}
