// One run of the whole suite over the extended protocol against one address.
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { giveTo, type RunAs } from '../../../pgctld/postgres/run-as.ts'
import type { Progress } from '../apt.ts'
import { Relay, type AskPool, type SessionFigures, type Upstream } from '../relay.ts'
import type { Group } from '../schedule.ts'
import { DATABASE } from '../site.ts'
import type { Suite } from '../suite.ts'
import type { Mode } from './exchange.ts'
import { play, type Exchange } from './player.ts'

/** Tests of psql itself. */
export const PSQL_OWN: ReadonlySet<string> = new Set(['psql', 'psql_crosstab'])

/** What a run is about. `dir` is where the server writes files (COPY TO). */
export type ExtendedOptions = {
  readonly suite: Suite
  readonly name: string
  readonly mode: Mode
  readonly dir: string
  readonly upstream: Upstream
  readonly ask: AskPool
  readonly groups: readonly Group[]
  readonly runAs: RunAs
  readonly progress: Progress
}

/** What came of it, by test. */
export type ExtendedResult = {
  readonly name: string
  readonly exchanges: ReadonlyMap<string, readonly Exchange[]>
  readonly sessions: ReadonlyMap<string, readonly SessionFigures[]>
  readonly seconds: number
}

/** As pg_regress has psql log in. */
const PARAMETERS = {
  TimeZone: 'PST8PDT',
  datestyle: 'Postgres, MDY',
  options: '-c intervalstyle=postgres_verbose',
  client_encoding: 'UTF8',
}

/** Plays the groups one after the other, the tests of a group side by side. */
export async function runExtended(options: ExtendedOptions): Promise<ExtendedResult> {
  const { suite, name, mode, dir, groups, runAs, progress } = options
  for (const below of ['', 'results']) {
    mkdirSync(join(dir, below), { recursive: true })
    giveTo(runAs, join(dir, below))
  }
  await using relay = await Relay.open(options.upstream, options.ask)
  const began = performance.now()
  const exchanges = new Map<string, readonly Exchange[]>()
  const environment = {
    PG_ABS_SRCDIR: suite.inputDir,
    PG_ABS_BUILDDIR: dir,
    PG_LIBDIR: suite.libDir,
    PG_DLSUFFIX: '.so',
  }
  const one = async (test: string): Promise<void> => {
    const script = readFileSync(join(suite.inputDir, 'sql', `${test}.sql`), 'utf8')
    const parameters = { ...PARAMETERS, application_name: `pg_regress/${test}` }
    const login = { port: relay.port, user: 'postgres', database: DATABASE, parameters }
    exchanges.set(test, await play({ script, login, mode, environment }))
  }
  for (const [at, group] of groups.entries()) {
    await Promise.all(group.filter((test) => !PSQL_OWN.has(test)).map(one))
    if (at % 5 === 4) progress(`${name}: ${at + 1} of ${groups.length} groups`)
  }
  const sessions = Map.groupBy(relay.sessions, (s) => s.name.replace(/^pg_regress\//, ''))
  return { name, exchanges, sessions, seconds: Math.round((performance.now() - began) / 1000) }
}
