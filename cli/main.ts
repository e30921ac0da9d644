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

/** A command by its words. */
type Entry = { readonly summary: string; readonly load: () => Promise<Command> }

const COMMANDS = new Map<string, Entry>([
  [
    'cluster start',
    {
      summary: 'bring a cluster up on this machine, or show the one that runs',
      load: async () => (await import('./commands/start.ts')).command,
    },
  ],
  [
    'cluster status',
    {
      summary: 'show who leads, who follows and where everything listens',
      load: async () => (await import('./commands/status.ts')).command,
    },
  ],
  [
    'cluster events',
    {
      summary: 'tell what happened: failovers, switchovers, copies, step by step',
      load: async () => (await import('./commands/events.ts')).command,
    },
  ],
  [
    'cluster switchover',
    {
      summary: 'hand the leadership to another member, without an error at clients',
      load: async () => (await import('./commands/switchover.ts')).command,
    },
  ],
  [
    'cluster durability',
    {
      summary: 'show or change who has to have a commit before it is acknowledged',
      load: async () => (await import('./commands/durability.ts')).command,
    },
  ],
  [
    'cluster node add',
    {
      summary: 'add a PostgreSQL to the running cluster',
      load: async () => (await import('./commands/node.ts')).add,
    },
  ],
  [
    'cluster node remove',
    {
      summary: 'send one away: decided first, then stopped, then forgotten',
      load: async () => (await import('./commands/node.ts')).remove,
    },
  ],
  [
    'cluster node repair',
    {
      summary: 'have one tried again that is quarantined, or copied anew',
      load: async () => (await import('./commands/repair.ts')).command,
    },
  ],
  [
    'cluster recovery pause',
    {
      summary: 'keep the orchestrators from acting',
      load: async () => (await import('./commands/recovery.ts')).pause,
    },
  ],
  [
    'cluster recovery resume',
    {
      summary: 'let them act again, also after too many failovers',
      load: async () => (await import('./commands/recovery.ts')).resume,
    },
  ],
  [
    'cluster recovery trigger',
    {
      summary: 'have them do now what is to be done',
      load: async () => (await import('./commands/recovery.ts')).trigger,
    },
  ],
  [
    'cluster recovery status',
    {
      summary: 'show what they do, or would do',
      load: async () => (await import('./commands/recovery.ts')).status,
    },
  ],
  [
    'cluster recovery override',
    {
      summary: 'appoint a leader although too many members are lost for good',
      load: async () => (await import('./commands/recovery.ts')).override,
    },
  ],
  [
    'cluster stop',
    {
      summary: 'stop it; with --clean also remove its data',
      load: async () => (await import('./commands/stop.ts')).command,
    },
  ],
  [
    'locks list',
    {
      summary: 'show who holds which lock, who waits, and how the store stands',
      load: async () => (await import('./commands/locks.ts')).list,
    },
  ],
  [
    'locks show',
    {
      summary: 'show one lock with its line of waiters',
      load: async () => (await import('./commands/locks.ts')).show,
    },
  ],
])

const ABOUT = 'multigres: high availability, pooling and one address for PostgreSQL servers.'

/** Words that stand before others, with what they are about. */
const GROUPS = new Map([
  [
    'cluster',
    `A cluster on this machine: gateways that clients connect to, and behind them poolers, each
beside its own PostgreSQL, of which exactly one leads. Everything it keeps lies in one folder
(--dir).`,
  ],
  ['cluster node', `The nodes of a running cluster, each a pooler beside its PostgreSQL.`],
  [
    'cluster recovery',
    `The orchestrators watch the shards of a cluster, appoint leaders and repair members. These
commands are an operator's hand on them, whichever of them are alive. What is paused stays paused,
also when they are restarted, until it is resumed.`,
  ],
  [
    'locks',
    `Locks are for what people and programs do to a cluster one at a time, such as a switchover.
They live in the cluster's topology. No write depends on one of them.`,
  ],
])

/** The commands that begin with `prefix`, a line each. */
function commandLines(prefix: string): string[] {
  const under = [...COMMANDS].filter(([words]) => words.startsWith(prefix))
  const width = Math.max(...under.map(([words]) => words.length - prefix.length)) + 2
  return under.map(([words, { summary }]) => {
    return `  ${words.slice(prefix.length).padEnd(width)}${summary}`
  })
}

const help = (): string => `${ABOUT}

Usage: multigres COMMAND [FLAGS]

Commands:
${commandLines('').join('\n')}

Try:
  multigres cluster start                 three nodes in ./.multigres, Ctrl-C stops them
  multigres cluster start --detach        the same in the background
  multigres cluster status
  multigres cluster events --follow       what happens, as it happens
  multigres COMMAND --help                all flags of a command

Exit codes: 0 done; 1 refused (busy port, foreign folder, ...); 2 wrong flags.
`

const groupHelp = (group: string): string => `Usage: multigres ${group} COMMAND [FLAGS]

${GROUPS.get(group)}

Commands:
${commandLines(`${group} `).join('\n')}

multigres ${group} COMMAND --help explains the flags.
`

/** Runs the command that `argv` names. Resolves to the exit code; complaints go to stderr. */
export async function main(argv: readonly string[]): Promise<number> {
  const [topic] = argv
  try {
    if (topic === undefined || isHelp(topic)) return show(help())
    if (topic === 'help') return await main([...argv.slice(1), '--help'])
    const { group, entry, rest } = find(argv)
    if (entry === undefined) {
      const [name] = rest
      if (name === undefined || isHelp(name)) return show(groupHelp(group))
      throw unknown(`command ${group}`.trim(), name, wordsAfter(group))
    }
    const command = await entry.load()
    if (rest.some(isHelp)) return show(command.help())
    return await command.run(rest)
  } catch (error) {
    return complain(error)
  }
}

/** The command that `argv` begins with; without one, the group that it begins with. */
function find(argv: readonly string[]): { group: string; entry?: Entry; rest: readonly string[] } {
  let group = ''
  for (let count = 1; count <= argv.length; count += 1) {
    const words = argv.slice(0, count).join(' ')
    const entry = COMMANDS.get(words)
    if (entry !== undefined) return { group, entry, rest: argv.slice(count) }
    if (!GROUPS.has(words)) return { group, rest: argv.slice(count - 1) }
    group = words
  }
  return { group, rest: [] }
}

/** What may follow a group. */
function wordsAfter(group: string): Set<string> {
  const prefix = group === '' ? '' : `${group} `
  const words = [...COMMANDS.keys()].filter((name) => name.startsWith(prefix))
  const next = words.map((name) => name.slice(prefix.length).split(' ')[0] ?? '')
  return new Set(group === '' ? [...next, 'help'] : next)
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
