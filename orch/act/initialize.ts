// A new shard: the claim first, then initdb on the node that it names. The claim is made only if it
// is absent, and changed only from what was seen, so two orchestrators cannot make two shards.
import { callUnary } from '../../shared/rpc/client.ts'
import { shardClaimKey, type ShardClaim } from '../../shared/topology/records.ts'
import type { Action } from '../analyze/problem.ts'
import type { ShardContext } from './shard-context.ts'

const INIT_TIMEOUT_MS = 320_000

/** @throws TopologyError exists or conflict when another orchestrator was faster; RpcError. */
export async function initialize(
  context: ShardContext,
  action: Extract<Action, { kind: 'initialize' }>,
): Promise<void> {
  const { first, incarnations, claim } = action
  const unchanged = claim?.first === first && claim.incarnations[first] === incarnations[first]
  if (!unchanged) {
    await writeClaim(context, {
      claimer: context.orchId,
      first,
      incarnations: { ...incarnations },
      attempt: (claim?.attempt ?? 0) + 1,
      state: 'claimed',
    })
  }
  const { client, header, learn } = context.callee(first)
  const durability = context.snapshot().record?.durability ?? ''
  const request = { header, durability, leaseMs: context.leaseMs }
  context.log.info('initialising the shard', { first, durability })
  learn(await callUnary(client, 'initializeShard', request, { timeoutMs: INIT_TIMEOUT_MS }))
}

/** After the first rule: nobody may claim this shard again. */
export async function decideClaim(context: ShardContext, claim: ShardClaim): Promise<void> {
  await writeClaim(context, { ...claim, state: 'decided' })
}

async function writeClaim(context: ShardContext, claim: ShardClaim): Promise<void> {
  const key = shardClaimKey(context.database, context.shard)
  const known = context.claim
  const value = JSON.stringify(claim)
  if (known === undefined) await context.topology.create(key, value)
  else await context.topology.put(key, value, { revision: known.revision })
}
