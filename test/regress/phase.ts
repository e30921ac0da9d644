import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { RunAs } from '../../pgctld/postgres/run-as.ts'
import type { Progress } from './apt.ts'
import type { AskPool, Upstream } from './relay.ts'
import type { Group } from './schedule.ts'
import type { Site } from './site.ts'
import type { Suite } from './suite.ts'

/** What the runs over one protocol have in common. */
export type Phase = {
  readonly suite: Suite
  readonly site: Site
  readonly groups: readonly Group[]
  readonly tests: readonly string[]
  /** Pool sizes; none to look at Postgres alone. */
  readonly pools: readonly number[]
  /** Whether to measure how many batches could be released at best. */
  readonly oracle: boolean
  readonly runAs: RunAs
  readonly progress: Progress
  readonly out: Output
  /** Through the gateway, or past it. */
  target(through: boolean): { upstream: Upstream; ask: AskPool }
}

/** What is printed, and the folder of what is kept. */
export class Output {
  readonly dir: string

  /** Empties the folder. */
  constructor(dir: string) {
    this.dir = dir
    rmSync(dir, { recursive: true, force: true })
    mkdirSync(dir, { recursive: true })
  }

  print(text: string): void {
    process.stdout.write(text)
  }

  save(name: string, bytes: string | Uint8Array): void {
    mkdirSync(dirname(join(this.dir, name)), { recursive: true })
    writeFileSync(join(this.dir, name), bytes)
  }
}
