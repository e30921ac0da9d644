// What was measured, in a file: rounds can be added to it later, as when a machine is quiet only for
// a while.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import type { Sample, TargetKey } from './measure.ts'
import type { Rig } from './rig.ts'

/** Samples of one case, round by round; the same index is the same round. */
export type CaseResult = Partial<Record<TargetKey, Sample[]>>

/** The whole file. */
export type Results = {
  readonly machine: string
  readonly cores: number
  readonly versions: Readonly<Record<string, string>>
  /** Commits that rounds were measured at, oldest first. */
  readonly commits: string[]
  readonly gateways: number
  readonly cases: Record<string, CaseResult>
}

const PROJECT_DIR = join(import.meta.dir, '..', '..')

/** Nothing measured yet; or, to add to, what the file has. */
export function openResults(
  rig: Rig,
  { out: file, append, gateways }: { out: string | undefined; append: boolean; gateways: number },
): Results {
  const before = append && file !== undefined && existsSync(file) ? readResults(file) : undefined
  if (before !== undefined && before.gateways !== gateways) {
    throw new Error(`${file} is of ${before.gateways} gateways: choose another --out`)
  }
  const commit = commitNow()
  const commits = before?.commits ?? []
  return {
    machine: cpus()[0]?.model ?? '?',
    cores: cpus().length,
    versions: rig.versions,
    commits: commits.includes(commit) ? commits : [...commits, commit],
    gateways,
    cases: before?.cases ?? {},
  }
}

export function readResults(file: string): Results {
  return JSON.parse(readFileSync(file, 'utf8')) as Results
}

/** Called after every round: what is cut short keeps what it has. */
export function writeResults(file: string | undefined, results: Results): void {
  if (file !== undefined) writeFileSync(file, `${JSON.stringify(results, undefined, 1)}\n`)
}

function commitNow(): string {
  const git = Bun.spawnSync(['git', 'describe', '--always', '--dirty'], { cwd: PROJECT_DIR })
  return git.stdout.toString().trim() || 'unknown'
}
