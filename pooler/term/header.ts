// Who a control call is meant for. Ports are used again and hosts share one loopback: a call for
// another cluster, shard, member or life of a member is refused before anything is looked at.
import type { CallHeader } from '../../proto/gen/consensus.ts'
import { CONTROL_PROTOCOL_VERSION } from '../../shared/consensus/wire.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import type { Member } from './member.ts'

/** @throws PgError object_not_in_prerequisite_state, or cannot_connect_now while we do not know. */
export function checkHeader(member: Member, header: CallHeader | undefined): void {
  if (header === undefined) throw refuse('it names no target')
  const { identity, clusterId, promises } = member
  if (header.protocolVersion !== CONTROL_PROTOCOL_VERSION) {
    throw refuse(`protocol version ${header.protocolVersion} is not ${CONTROL_PROTOCOL_VERSION}`)
  }
  if (clusterId === undefined) {
    throw new PgError('cannot_connect_now', 'this pooler does not know its cluster yet')
  }
  compare('cluster', clusterId, header.clusterId)
  compare('database', identity.database, header.database)
  compare('shard', identity.shard, header.shard)
  compare('member', identity.id, header.targetId)
  compare('incarnation', promises?.state.incarnation ?? '', header.targetIncarnation)
}

function compare(what: string, own: string, meant: string): void {
  if (own !== meant) throw refuse(`it is for ${what} "${meant}", this is "${own}"`)
}

function refuse(why: string): PgError {
  return new PgError('object_not_in_prerequisite_state', `control call refused: ${why}`)
}
