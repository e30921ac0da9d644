// Goal: no hot path gets slower without anybody noticing.
// Method: the micro-benchmarks of this tree and of the commit it is compared with run in turns in
// several processes, by the CPU time of the thread; the minimum of many counts, and the middle. What
// seems worse is measured again and again, and fails if it is still 15 % worse then.
import { existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { compare, WORSE, type Row, type Times } from './verdict.ts'

const HELP = `Usage: npm run bench:micro -- [--base REF] [--rounds N]
  --base REF   what to compare with (default: HEAD where files differ from it; else where this
               branch left main; else the commit before)
  --rounds N   processes that measure everything (default: 6; more where something seems worse)`

const ROOT = join(import.meta.dir, '..', '..')
const MEASURE = 'test/micro/measure.ts'
const CASES = 'test/micro/cases.ts'
/** Of one case in one process, both trees together. */
const MS = 150
/** So often what seems worse is measured anew, in as many rounds as all was before. */
const REPEATS_MAX = 4

const { values: flags } = parseArgs({
  args: Bun.argv.slice(2),
  options: {
    base: { type: 'string' },
    rounds: { type: 'string', default: '6' },
    help: { type: 'boolean', default: false },
  },
})
if (flags.help) {
  console.log(HELP)
  process.exit(0)
}

const base = flags.base ?? defaultBase()
const tree = mkdtempSync(join(tmpdir(), 'mg-micro-'))
try {
  process.exitCode = await run()
} finally {
  rmSync(tree, { recursive: true })
}

async function run(): Promise<number> {
  if (base === undefined || !checkOut(base)) {
    console.log('nothing to compare with: no git, or no such commit')
    return end([])
  }
  if (!existsSync(join(tree, CASES))) {
    console.log(`${base} has no micro-benchmarks`)
    return end([])
  }
  const before: Times[] = []
  const here: Times[] = []
  let rows: Row[] = []
  let names: string[] = []
  for (let repeat = 0; repeat <= REPEATS_MAX; repeat++) {
    for (let round = 0; round < Number(flags.rounds); round++) {
      const [was, is] = await measure(round % 2 === 0, names)
      before.push(was)
      here.push(is)
    }
    rows = compare(before, here)
    names = rows.filter(({ verdict }) => verdict !== 'good').map(({ name }) => name)
    if (names.length === 0) break
  }
  return end(rows)
}

/** Times of the base and of this tree; of all cases without `names`. @throws Error what it said. */
async function measure(baseFirst: boolean, names: readonly string[]): Promise<[Times, Times]> {
  const roots = baseFirst ? [tree, ROOT] : [ROOT, tree]
  const child = Bun.spawn(
    [process.execPath, MEASURE, String(MS), JSON.stringify(names), ...roots],
    { cwd: ROOT, stdout: 'pipe', stderr: 'pipe' },
  )
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  if ((await child.exited) !== 0) throw new Error(`micro-benchmarks of ${roots[0]}: ${err}`)
  const [first, second] = JSON.parse(out) as [Times, Times]
  return baseFirst ? [first, second] : [second, first]
}

function end(rows: readonly Row[]): number {
  const short = base?.slice(0, 12) ?? ''
  for (const { name, base: was, here, ratio, verdict } of rows) {
    const figures = `${was.toFixed(1).padStart(8)} ns ${here.toFixed(1).padStart(8)} ns`
    console.log(
      `${name.padEnd(42)} ${figures}  ${ratio.toFixed(2)} x ${verdict === 'worse' ? 'WORSE' : ''}`,
    )
  }
  const worse = rows.filter(({ verdict }) => verdict === 'worse').length
  if (worse > 0) console.log(`more than ${WORSE} x what ${short} takes`)
  console.log(`${rows.length - worse} passed, ${worse} failed`)
  return worse === 0 ? 0 : 1
}

/** The files of `ref`, beside the packages of this tree. */
function checkOut(ref: string): boolean {
  const archive = Bun.spawnSync(['git', 'archive', ref], { cwd: ROOT, stderr: 'ignore' })
  if (archive.exitCode !== 0) return false
  const untar = Bun.spawnSync(['tar', '-x', '-C', tree], { stdin: archive.stdout })
  symlinkSync(join(ROOT, 'node_modules'), join(tree, 'node_modules'))
  return untar.exitCode === 0
}

function defaultBase(): string | undefined {
  const head = git('rev-parse', 'HEAD')
  if (head === undefined) return undefined
  if (git('status', '--porcelain', '--untracked-files=no') !== '') return head
  for (const main of ['origin/main', 'main']) {
    const left = git('merge-base', 'HEAD', main)
    if (left !== undefined && left !== head) return left
  }
  return git('rev-parse', 'HEAD^')
}

function git(...args: string[]): string | undefined {
  const { exitCode, stdout } = Bun.spawnSync(['git', ...args], { cwd: ROOT, stderr: 'ignore' })
  return exitCode === 0 ? stdout.toString().trim() : undefined
}
