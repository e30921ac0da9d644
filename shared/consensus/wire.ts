// Between the generated messages of proto/consensus.proto, where every field may be missing, and
// the types of this folder, where none is. Input from a peer is checked here, once.
import type * as Wire from '../../proto/gen/consensus.ts'
import { PgError } from '../errors/pg-error.ts'
import type { Position } from './position.ts'
import { NO_REVOCATION, type TermRevocation } from './revocation.ts'
import type { Rule, RuleNumber } from './rule.ts'

/** Version of the control protocol that this build speaks. */
export const CONTROL_PROTOCOL_VERSION = 1

/** @throws PgError protocol_violation when a message or its rule number is missing. */
export function ruleFromWire(rule: Wire.Rule | undefined): Rule {
  if (rule?.number === undefined) throw missing('rule')
  return { ...rule, number: rule.number }
}

/** The same fields; the copy is the message's own. */
export function ruleToWire(rule: Rule): Wire.Rule {
  return {
    ...rule,
    number: { ...rule.number },
    cohort: rule.cohort.map((member) => ({ ...member })),
  }
}

/** @throws PgError protocol_violation when a message is missing. */
export function numberFromWire(number: Wire.RuleNumber | undefined): RuleNumber {
  if (number === undefined) throw missing('rule number')
  return number
}

/** @throws PgError protocol_violation when its decision is missing. */
export function positionFromWire(position: Wire.Position): Position {
  return {
    decision: ruleFromWire(position.decision),
    proposal: position.proposal && ruleFromWire(position.proposal),
    lsn: position.lsn,
    timeline: position.timeline,
  }
}

/** Undefined stays absent on the wire. */
export function positionToWire(position: Position): Wire.Position {
  return {
    decision: ruleToWire(position.decision),
    proposal: position.proposal && ruleToWire(position.proposal),
    lsn: position.lsn,
    timeline: position.timeline,
  }
}

/** An absent message is a node that never promised anything. */
export function revocationFromWire(revocation: Wire.TermRevocation | undefined): TermRevocation {
  if (revocation === undefined) return NO_REVOCATION
  const { outgoingRule } = revocation
  return { ...revocation, outgoingRule: outgoingRule ?? NO_REVOCATION.outgoingRule }
}

/** The same fields. */
export function revocationToWire(revocation: TermRevocation): Wire.TermRevocation {
  return { ...revocation, outgoingRule: { ...revocation.outgoingRule } }
}

function missing(what: string): PgError {
  return new PgError('protocol_violation', `a control message lacks its ${what}`)
}
