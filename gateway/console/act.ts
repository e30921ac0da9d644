// Commands that change something.

import { ConfigError, NotLiveError } from '../../shared/config/errors.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { sleep, timer } from '../../shared/time/clock.ts'
import type { GatewayServer } from '../server.ts'
import type { Session } from '../session/session.ts'
import { takePicture } from './picture.ts'
import { ALIASES } from './show/settings.ts'

/** How often a command that waits looks again. */
const LOOK_MS = 20
/** The same, where others have to be asked. */
const LOOK_FAR_MS = 100

/** A pause that takes longer says what it waits for. */
const TELL_MS = 1000

/** How many sessions are waited for. */
type Left = () => number | Promise<number>

/**
 * PAUSE: nothing new starts, and it is over when nothing runs and no backend is held. A pause that
 * is cancelled meanwhile is taken back.
 */
export async function pause(
  server: GatewayServer,
  database: string | undefined,
  { signal, tell }: { signal: AbortSignal; tell: (message: string) => void },
): Promise<void> {
  const { pauses } = server
  const already = database === undefined ? pauses.all : pauses.holds(database)
  if (already) throw wrongState('already paused')
  pauses.pause(database)
  server.log.info('paused', { database })
  const left = (): number => {
    let count = 0
    for (const session of sessionsOf(server, database)) if (!session.view().free) count += 1
    return count
  }
  using _late = timer(TELL_MS, () => {
    tell(`sessions that still hold a backend: ${left()}; SHOW PINS elsewhere has the reasons`)
  })
  try {
    await untilNone(left, { signal })
  } catch (error) {
    resume(server, database)
    throw error
  }
  // Whoever pauses wants to do something to Postgres: what idles there goes.
  for (const link of server.router.links.values()) link.retire(database)
}

/** RESUME: those that wait go on, first come first served. */
export function resume(server: GatewayServer, database: string | undefined): void {
  if (!server.pauses.resume(database)) {
    const what = database === undefined ? 'the gateway' : `database "${database}"`
    throw wrongState(`${what} is not paused`)
  }
  server.log.info('resumed', { database })
}

/** KILL: paused, and every session of it is over. What runs is aborted. */
export function kill(server: GatewayServer, database: string | undefined): void {
  server.pauses.pause(database)
  server.log.info('killed', { database })
  for (const session of sessionsOf(server, database)) session.terminate(terminated())
  for (const session of server.replications.values()) {
    const its = session.view().database
    if (database === undefined || its === database) session.terminate(terminated())
  }
}

/** KILL_CLIENT. @throws PgError undefined_object */
export function killClient(server: GatewayServer, number: number): void {
  for (const session of [...server.sessions.values(), ...server.replications.values()]) {
    if (session.number !== number) continue
    server.log.info('client killed', { session: number })
    return session.terminate(terminated())
  }
  const hint = 'SHOW CLIENTS has the ids.'
  throw new PgError('undefined_object', `there is no client ${number}`, { hint })
}

/** DISABLE: no new clients; those that are in stay. */
export function disable(server: GatewayServer, database: string): void {
  server.disabled.add(database)
  server.log.info('disabled', { database })
}

/** ENABLE. */
export function enable(server: GatewayServer, database: string): void {
  server.disabled.delete(database)
  server.log.info('enabled', { database })
}

/** RECONNECT: backends are replaced as they fall free, in every pooler of the shard. */
export function reconnect(server: GatewayServer, database: string | undefined): void {
  server.log.info('reconnecting', { database })
  for (const link of server.router.links.values()) link.retire(database)
}

/** WAIT_CLOSE: until no backend is on its way out. */
export async function waitClose(
  server: GatewayServer,
  options: { database: string | undefined; token: string | undefined; signal: AbortSignal },
): Promise<void> {
  const { database, token, signal } = options
  const left = async (): Promise<number> => {
    const { servers } = await takePicture(server, token)
    return servers.filter(({ backend }) => {
      return backend.retired === true && (database === undefined || backend.database === database)
    }).length
  }
  await untilNone(left, { signal, lookMs: LOOK_FAR_MS })
}

/**
 * SHUTDOWN: at once, or with a drain, which ends sessions as soon as they have nothing open and
 * cuts what is left after `lameduck_period`.
 * @throws PgError feature_not_supported where nothing can stop the process
 */
export function shutdown(server: GatewayServer, wait: 'clients' | 'servers' | undefined): void {
  const { stop } = server
  if (stop === undefined) {
    throw new PgError('feature_not_supported', 'SHUTDOWN is not supported: nobody would hear it')
  }
  // Answered first: the console's own connection ends with the process.
  timer(LOOK_MS, () => stop('SHUTDOWN at the admin console', wait === undefined))
}

/** RELOAD: the settings' file, the certificate and the rules. @throws PgError naming mistakes */
export function reload(server: GatewayServer): readonly string[] {
  const { needRestart, warnings, problems } = server.reload()
  if (problems.length > 0) {
    const detail = problems.join('\n')
    throw new PgError('invalid_parameter_value', 'the settings were not reloaded', { detail })
  }
  return [...warnings, ...needRestart.map((name) => `${name} changes with a restart`)]
}

/** SET, until the process ends. @throws PgError for what is unknown, wrong or not live. */
export function set(server: GatewayServer, name: string, value: string): void {
  const own = ALIASES[name] ?? name
  try {
    server.set({ [own]: value })
    server.log.info('setting changed', { setting: own, value })
  } catch (error) {
    if (error instanceof NotLiveError) {
      throw new PgError('object_not_in_prerequisite_state', `${own} changes with a restart only`)
    }
    if (!(error instanceof ConfigError)) throw error
    const [problem = ''] = error.problems
    const unknown = problem.startsWith('there is no setting')
    throw new PgError(unknown ? 'undefined_object' : 'invalid_parameter_value', problem, {
      hint: 'SHOW CONFIG lists the settings.',
    })
  }
}

/** Looks until nothing is left. @throws PgError query_canceled */
export async function untilNone(
  left: Left,
  { signal, lookMs = LOOK_MS }: { signal: AbortSignal; lookMs?: number },
): Promise<void> {
  while ((await left()) > 0) {
    if (signal.aborted) throw canceled()
    await sleep(lookMs, signal).catch(() => undefined) // an abort is seen above
  }
}

function* sessionsOf(server: GatewayServer, database: string | undefined): Iterable<Session> {
  for (const session of server.sessions.values()) {
    if (database === undefined || session.view().database === database) yield session
  }
}

function canceled(): PgError {
  return new PgError('query_canceled', 'canceling statement due to user request')
}

function terminated(): PgError {
  const why = 'terminating connection due to administrator command'
  return new PgError('admin_shutdown', why, { severity: 'FATAL' })
}

function wrongState(message: string): PgError {
  return new PgError('object_not_in_prerequisite_state', message)
}
