import type { ClusterPlan, MemberPlan } from './plan.ts'
import { LOOPBACK } from './plan.ts'

/** One service of a plan, whatever its kind. */
export interface Member extends MemberPlan {
  readonly service: 'gateway' | 'pooler' | 'orch' | 'pgctld'
}

/** Every service of the plan that speaks HTTP, in the order in which tables show them. */
export function membersOf(plan: ClusterPlan): Member[] {
  return [
    ...plan.gateways.map((member) => ({ ...member, service: 'gateway' as const })),
    ...plan.poolers.map((member) => ({ ...member, service: 'pooler' as const })),
    ...plan.poolers.map(({ pgctld }) => ({ ...pgctld, service: 'pgctld' as const })),
    ...plan.orchs.map((member) => ({ ...member, service: 'orch' as const })),
  ]
}

/** The base URL of a member's HTTP. */
export const httpUrl = ({ httpPort }: MemberPlan): string => `http://${LOOPBACK}:${httpPort}`

/** The address of a member's gRPC, as a client of it takes it. */
export const grpcAddress = ({ grpcPort }: MemberPlan): string => `${LOOPBACK}:${grpcPort}`
