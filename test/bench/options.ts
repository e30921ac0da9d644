import { parseArgs } from 'node:util'
import type { TargetKey } from './measure.ts'

/** What a run measures. */
export type BenchOptions = {
  readonly cases: string
  readonly targets: readonly TargetKey[]
  readonly rounds: number
  readonly seconds: number
  readonly gateways: number
  readonly out: string | undefined
  readonly append: boolean
  /** A file to print instead of measuring. */
  readonly print: string | undefined
}

const QUICK = 'simple-1,simple-64,extended-64,prepared-64,tpcb,churn,select,copy-in'
const TARGETS: readonly TargetKey[] = ['direct', 'theirs', 'ours']

const FLAGS = {
  quick: { type: 'boolean', default: false },
  cases: { type: 'string' },
  targets: { type: 'string', default: TARGETS.join(',') },
  rounds: { type: 'string' },
  seconds: { type: 'string' },
  gateways: { type: 'string', default: '1' },
  out: { type: 'string' },
  append: { type: 'boolean', default: false },
  print: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const

/** Reads the flags; `select` throws for cases that are not there. Prints help and exits where that is asked for or they are wrong. */
export function readOptions(
  argv: readonly string[],
  cases: readonly { readonly name: string; readonly about: string }[],
  select: (text: string) => unknown,
): BenchOptions {
  const flags = parse(argv)
  if (flags.help) {
    console.log(help(cases))
    process.exit(0)
  }
  const chosen = flags.cases ?? (flags.quick ? QUICK : 'all')
  try {
    select(chosen)
  } catch (error) {
    complain(`--cases: ${error instanceof Error ? error.message : String(error)}`)
  }
  const targets = flags.targets.split(',')
  for (const name of targets) if (!isTarget(name)) complain(`--targets ${name}: there is no such`)
  return {
    cases: chosen,
    targets: targets.filter(isTarget),
    rounds: whole('--rounds', flags.rounds ?? (flags.quick ? '3' : '10')),
    seconds: whole('--seconds', flags.seconds ?? (flags.quick ? '1' : '4')),
    gateways: whole('--gateways', flags.gateways),
    out: flags.out,
    append: flags.append,
    print: flags.print,
  }
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: FLAGS }).values
  } catch (error) {
    return complain(error instanceof Error ? error.message : String(error))
  }
}

function whole(name: string, text: string): number {
  const value = Number(text)
  return Number.isInteger(value) && value > 0 ? value : complain(`${name} ${text}: not 1 or more`)
}

function isTarget(name: string): name is TargetKey {
  return (TARGETS as readonly string[]).includes(name)
}

function complain(message: string): never {
  console.error(`bench: ${message}\n       npm run bench -- --help`)
  process.exit(2)
}

function help(cases: Parameters<typeof readOptions>[1]): string {
  return `Usage: npm run bench -- [FLAGS]
Compares PostgreSQL alone, PgBouncer and this system on the same PostgreSQL: the same unix socket to
it, the same pool, SCRAM clients over TCP, logging off; round by round, so that ratios are of pairs.
Clients, PostgreSQL and proxies share this machine's cores: ratios count, not absolutes.

  --quick         ${QUICK};
                  three rounds of a second, at most three minutes
  --cases LIST    cases, or groups by what stands before the dash  [all]
  --rounds N      pairs of each case; an interval needs two, ten say something  [10]
  --seconds N     length of one run of pgbench  [4]
  --targets LIST  ${TARGETS.join(', ')}  [all]
  --gateways N    gateways behind the port  [1]
  --out FILE      every sample, as JSON
  --append        adds the rounds to those that FILE has: for a machine that is quiet for a while
  --print FILE    measures nothing: the tables of FILE

Cases:
${cases.map(({ name, about }) => `  ${name.padEnd(14)}  ${about}`).join('\n')}

Examples:
  npm run bench -- --quick
  npm run bench -- --cases simple,tpcb --rounds 10 --seconds 2 --out /tmp/bench.json
  npm run bench -- --cases idle --rounds 1 --targets ours

Ratios are multigres over PgBouncer, with their 95 % interval. CPU counts all processes of a proxy.`
}
