// The pgctld process: a service, or with a verb first a command.
import { runService } from '../shared/lifecycle/run-service.ts'
import type { Env } from '../shared/config/sources.ts'
import { isVerb, runCommand } from './command/run-command.ts'
import { pgctldFields } from './config.ts'
import { startPgctld } from './service.ts'

const DISPOSE_MS_MAX = 10 * 60_000 // --stop-timeout may be long, and Postgres must not be left

/** Runs it. Resolves to the exit code: 0, 1 when the world refuses, 2 when the flags are wrong. */
export async function main(argv: readonly string[], env: Env): Promise<number> {
  const [verb, ...rest] = argv[0] === '--' ? argv.slice(1) : argv
  if (verb !== undefined && isVerb(verb)) return runCommand(verb, rest, env)
  return runService({
    service: 'pgctld',
    about:
      'Starts, stops, initialises, clones and promotes one Postgres. As a command: ' +
      'pgctld init|start|stop|restart|reload|status|clone|version --data-dir DIR ...',
    fields: pgctldFields,
    argv,
    env,
    disposeMsMax: DISPOSE_MS_MAX,
    start: startPgctld,
  })
}

if (import.meta.main) process.exitCode = await main(Bun.argv.slice(2), process.env)
