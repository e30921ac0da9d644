import { PgError } from '../../shared/errors/pg-error.ts'
import type { Command } from './command.ts'

/** A command that changes something. */
export type Action = Exclude<Command, { verb: 'SHOW' | 'NOTHING' }>

/** Commands of all gateways whose one word more is the name of a database, or none. */
const OF_DATABASES = ['PAUSE', 'RESUME', 'KILL'] as const
const OF_DATABASE = ['DISABLE', 'ENABLE'] as const

/**
 * Reads what the console of another gateway asks for: what is done at all gateways, and no more.
 * @throws PgError protocol_violation, as from one that is newer.
 */
export function readAction(value: unknown): Action {
  if (typeof value !== 'object' || value === null) throw unknown()
  const { verb, database, session, name, value: text } = value as Record<string, unknown>
  const many = OF_DATABASES.find((known) => known === verb)
  const one = OF_DATABASE.find((known) => known === verb)
  if (many !== undefined && (database === undefined || typeof database === 'string')) {
    return { verb: many, database }
  }
  if (one !== undefined && typeof database === 'string') return { verb: one, database }
  if (verb === 'KILL_CLIENT' && typeof session === 'number') return { verb, session }
  if (verb === 'SET' && typeof name === 'string' && typeof text === 'string') {
    return { verb, name, value: text }
  }
  if (verb === 'RELOAD') return { verb }
  throw unknown()
}

function unknown(): PgError {
  return new PgError('protocol_violation', 'another gateway asks for what this one does not know')
}
