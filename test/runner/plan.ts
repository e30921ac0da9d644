import { relative } from 'node:path'

/** What the runner was asked for. */
export interface Request {
  /** Also the long forms, or nothing else. */
  long: 'no' | 'also' | 'only'
  /** Parts of paths; a file with none of them is left out. Empty: every file. */
  filters: readonly string[]
  seed: number
  /** How long one long form may take. */
  longLimitMs: number
}

/** Files that are run by one `bun test`, `workers` at a time. */
export interface Phase {
  name: string
  files: readonly string[]
  workers: number
  /** In an order of the seed's. The life of a cluster is a story: its tests keep theirs. */
  shuffled: boolean
  timeoutMs: number
  /** After this long what still runs is ended and named. */
  limitMs: number
}

const UNIT_TIMEOUT_MS = 10_000
const PROCESS_TIMEOUT_MS = 60_000
const LIMIT_MS = 25 * 60_000 // twice what two cores need
const LONG_LIMIT_MINUTES = 120
const SEED_MAX = 2 ** 31 - 1

/**
 * Reads `[--long | --only-long] [--seed N] [--limit MINUTES] [--] [FILTER...]`; the limit is one
 * long form's.
 * @throws Error for anything else.
 */
export function readRequest(argv: readonly string[], freshSeed: number): Request {
  const seed = Math.floor(freshSeed * SEED_MAX)
  const longLimitMs = LONG_LIMIT_MINUTES * 60_000
  const request: Request = { long: 'no', filters: [], seed, longLimitMs }
  const filters: string[] = []
  for (let at = 0; at < argv.length; at += 1) {
    const argument = argv[at] ?? ''
    if (argument === '--long') request.long = 'also'
    else if (argument === '--only-long') request.long = 'only'
    else if (argument === '--seed') request.seed = Number(argv[(at += 1)])
    else if (argument === '--limit') request.longLimitMs = Number(argv[(at += 1)]) * 60_000
    else if (argument !== '--') filters.push(argument)
    if (argument.startsWith('--') && !/^--(long|only-long|seed|limit)?$/.test(argument)) {
      throw new Error(
        `unknown flag ${argument}: --long, --only-long, --seed N, --limit MINUTES, then parts of ` +
          'paths',
      )
    }
  }
  if (!Number.isInteger(request.seed)) throw new Error('--seed needs a whole number')
  if (!(request.longLimitMs > 0)) throw new Error('--limit needs a number of minutes')
  return { ...request, filters }
}

/** Every test file below `root`, sorted: `*.test.ts` and the long forms, `*.long.ts`. */
export function findTestFiles(root: string): string[] {
  const found = new Bun.Glob('**/*.{test,long}.ts').scanSync({ cwd: root, absolute: true })
  return [...found]
    .map((file) => relative(root, file))
    .filter((file) => !/(^|\/)(node_modules|\.[^/]+)\//.test(file))
    .toSorted()
}

/**
 * Which files run together. Files beside the code start no process and share both cores; files
 * below test/ start clusters, also two at a time; what measures load runs alone. So do the long
 * forms, each in a process of its own: one that does not end takes no other with it.
 */
export function planPhases(files: readonly string[], request: Request, cores: number): Phase[] {
  const { long, filters } = request
  const wanted = files.filter(
    (file) => filters.length === 0 || filters.some((part) => file.includes(part)),
  )
  const short = wanted.filter((file) => file.endsWith('.test.ts'))
  const alone = (file: string): boolean => file.startsWith('test/load/')
  const process = (file: string): boolean => file.startsWith('test/') && !alone(file)
  const phases: Phase[] = []
  const add = (name: string, chosen: string[], workers: number, timeoutMs: number): void => {
    const limitMs = name === 'long' ? request.longLimitMs : LIMIT_MS
    const shuffled = name === 'unit'
    if (chosen.length > 0) {
      phases.push({ name, files: chosen, workers, shuffled, timeoutMs, limitMs })
    }
  }
  if (long !== 'only') {
    const unit = short.filter((file) => !alone(file) && !process(file))
    add('unit', unit, cores, UNIT_TIMEOUT_MS)
    add('processes', short.filter(process), Math.min(cores, 2), PROCESS_TIMEOUT_MS)
    add('load', short.filter(alone), 1, PROCESS_TIMEOUT_MS)
  }
  const longForms = wanted.filter((file) => file.endsWith('.long.ts') || file.includes('/fuzz/'))
  if (long !== 'no') for (const file of longForms) add('long', [file], 1, PROCESS_TIMEOUT_MS)
  return phases
}
