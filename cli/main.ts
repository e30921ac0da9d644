// The command line: finds the command, shows help, and turns outcomes into exit codes.
// Commands are loaded when they are run, so that help and mistakes answer at once.
import { didYouMean } from '../shared/config/names.ts'
import { InterruptedError, RefusedError, UsageError, messageOf } from './errors.ts'

/** What a file of commands/ exports. */
export interface Command {
  /** The text of `--help`. */
  help(): string
  /** Does it; resolves to the exit code. @throws UsageError, RefusedError, InterruptedError. */
  run(argv: readonly string[]): Promise<number>
}

const CLUSTER = new Map<string, { summary: string; load: () => Promise<Command> }>([
  [
    'start',
    {
      summary: 'bring a cluster up on this machine, or show the one that runs',
      load: async () => (await import('./commands/start.ts')).command,
    },
  ],
  [
    'status',
    {
      summary: 'show who leads, who follows and where everything listens',
      load: async () => (await import('./commands/status.ts')).command,
    },
  ],
  [
    'switchover',
    {
      summary: 'hand the leadership to another member, without an error at clients',
      load: async () => (await import('./commands/switchover.ts')).command,
    },
  ],
  [
    'stop',
    {
      summary: 'stop it; with --clean also remove its data',
      load: async () => (await import('./commands/stop.ts')).command,
    },
  ],
])

const commandList = [...CLUSTER].map(
  ([name, { summary }]) => `  cluster ${name.padEnd(12)}${summary}`,
)

const HELP = `multigres: high availability, pooling and one address for PostgreSQL servers.

Usage: multigres COMMAND [FLAGS]

Commands:
${commandList.join('\n')}

Try:
  multigres cluster start                 three nodes in ./.multigres, Ctrl-C stops them
  multigres cluster start --detach        the same in the background
  multigres cluster status
  multigres COMMAND --help                all flags of a command

Exit codes: 0 done; 1 refused (busy port, foreign folder, ...); 2 wrong flags.
`

const CLUSTER_HELP = `Usage: multigres cluster COMMAND [FLAGS]

A cluster on this machine: gateways that clients connect to, and behind them poolers, each beside
its own PostgreSQL, of which exactly one leads. Everything it keeps lies in one folder (--dir).

Commands:
${commandList.map((line) => line.replace('  cluster', ' ')).join('\n')}

multigres cluster COMMAND --help explains the flags.
`

/** Runs the command that `argv` names. Resolves to the exit code; complaints go to stderr. */
export async function main(argv: readonly string[]): Promise<number> {
  const [topic, name, ...rest] = argv
  try {
    if (topic === undefined || isHelp(topic)) return show(HELP)
    if (topic === 'help') return await main([...argv.slice(1), '--help'])
    if (topic !== 'cluster') throw unknown('command', topic, ['cluster', 'help'])
    if (name === undefined || isHelp(name)) return show(CLUSTER_HELP)
    const entry = CLUSTER.get(name)
    if (entry === undefined) throw unknown('command cluster', name, CLUSTER.keys())
    const command = await entry.load()
    if (rest.some(isHelp)) return show(command.help())
    return await command.run(rest)
  } catch (error) {
    return complain(error)
  }
}

const isHelp = (argument: string): boolean => argument === '--help' || argument === '-h'

function show(text: string): number {
  process.stdout.write(text)
  return 0
}

function unknown(what: string, given: string, known: Iterable<string>): UsageError {
  const hint = didYouMean(given, known) || '; multigres --help lists them'
  return new UsageError([`there is no ${what} ${given}${hint}`])
}

function complain(error: unknown): number {
  if (error instanceof UsageError) {
    for (const problem of error.problems) process.stderr.write(`multigres: ${problem}\n`)
    return error.exitCode
  }
  if (error instanceof RefusedError || error instanceof InterruptedError) {
    process.stderr.write(`multigres: ${messageOf(error)}\n`)
    return error.exitCode
  }
  const stack = error instanceof Error ? error.stack : String(error)
  process.stderr.write(`multigres: a bug: ${stack}\n`)
  return 1
}

if (import.meta.main) {
  // bin/multigres starts Bun in the project, whose bunfig.toml counts; this is where it was called.
  process.chdir(process.env['MULTIGRES_CWD'] ?? '.')
  process.exitCode = await main(Bun.argv.slice(2))
}
