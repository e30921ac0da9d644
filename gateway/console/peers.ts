// The other gateways, asked and told over HTTP when somebody at the console wants something of all.

import { assert } from '../../shared/errors/assert.ts'
import { PgError, type Condition } from '../../shared/errors/pg-error.ts'
import type { GatewayRecord } from '../../shared/topology/records.ts'
import type { GatewayServer } from '../server.ts'

/** Somebody who does not answer within this time is missing from a picture. */
const ASK_TIMEOUT_MS = 3000

/** What the gateways that answered say, and who did not, with the reason. */
export type Heard<T> = { readonly views: readonly T[]; readonly missing: readonly string[] }

/** How a command ended at another gateway. */
export type Told = {
  readonly gateway: string
  readonly notices: readonly string[]
  readonly error?: { readonly condition: Condition; readonly message: string }
}

/** Every other gateway that the topology calls alive. */
export function peersOf({ gateways, limits }: GatewayServer): GatewayRecord[] {
  return [...gateways.values()]
    .filter(({ record, live }) => live && record.id !== limits.id)
    .map(({ record }) => record)
}

/** Asks all others for GET /debug/`view`. */
export async function askPeers<T>(
  server: GatewayServer,
  view: string,
  token: string | undefined,
): Promise<Heard<T>> {
  const views: T[] = []
  const missing: string[] = []
  const asked = peersOf(server).map(async (record) => {
    try {
      const signal = AbortSignal.timeout(ASK_TIMEOUT_MS)
      const response = await fetch(`${record.http}/debug/${view}`, {
        headers: headersOf(token),
        signal,
      })
      if (!response.ok) throw new Error(`GET /debug/${view} answered ${response.status}`)
      views.push((await response.json()) as T)
    } catch (error) {
      missing.push(`${record.id}: ${reasonOf(error)}`)
    }
  })
  await Promise.all(asked)
  return { views, missing }
}

/** Has all others run one command of the console, for as long as it takes. Never fails. */
export async function tellPeers(
  server: GatewayServer,
  command: unknown,
  { token, signal }: { token: string | undefined; signal: AbortSignal },
): Promise<Told[]> {
  const told = peersOf(server).map(async ({ id, http }): Promise<Told> => {
    try {
      const response = await fetch(`${http}/actions/console`, {
        method: 'POST',
        headers: headersOf(token),
        body: JSON.stringify({ command }),
        signal,
      })
      if (!response.ok) throw new Error(`POST /actions/console answered ${response.status}`)
      return { ...((await response.json()) as Omit<Told, 'gateway'>), gateway: id }
    } catch (error) {
      const condition = signal.aborted ? 'query_canceled' : 'connection_failure'
      return { gateway: id, notices: [], error: { condition, message: reasonOf(error) } }
    }
  })
  return await Promise.all(told)
}

/** The first thing that went wrong elsewhere, as what the administrator hears. */
export function failureOf(told: readonly Told[]): PgError {
  const failed = told.flatMap(({ gateway, error }) => (error ? [{ gateway, ...error }] : []))
  const [first] = failed
  assert(first !== undefined, 'nothing went wrong')
  const detail = failed.map(({ gateway, message }) => `${gateway}: ${message}`).join('\n')
  return new PgError(first.condition, first.message, failed.length > 1 ? { detail } : {})
}

function headersOf(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` }
}

const reasonOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error)
