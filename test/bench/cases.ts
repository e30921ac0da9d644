// What can be measured. A case runs against one target at a time; `prepare` runs once before it.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { prepareBulk, runBulk, type BulkKind } from './bulk.ts'
import { runChurn } from './churn.ts'
import { runIdle } from './idle.ts'
import { runListen } from './listen.ts'
import type { Sample, Target, TargetKey } from './measure.ts'
import { runMemory } from './memory.ts'
import { runPgbench, type Workload } from './pgbench.ts'
import type { Rig } from './rig.ts'

/** One thing to measure. */
export type Case = {
  readonly name: string
  readonly about: string
  /** What `rate` counts. */
  readonly unit: string
  readonly targets: readonly TargetKey[]
  readonly prepare?: (rig: Rig) => Promise<void>
  run(rig: Rig, target: Target, seconds: number): Promise<Sample>
}

const ALL: readonly TargetKey[] = ['direct', 'theirs', 'ours']
const PROXIES: readonly TargetKey[] = ['theirs', 'ours']
const IDLE_CLIENTS = 10_000
const WIDE_COLUMNS = 100

/** Every case, in the order of the table. */
export const CASES: readonly Case[] = [
  ...(['simple', 'extended', 'prepared'] as const).flatMap((mode) =>
    [1, 16, 64, 256].map((clients) => ({
      ...pgbench({ flags: ['-b', 'select-only'], mode, clients }),
      name: `${mode}-${clients}`,
      about: `pgbench -S -M ${mode}, ${clients} client${clients === 1 ? '' : 's'}`,
    })),
  ),
  {
    ...pgbench({ flags: ['-b', 'tpcb-like'], mode: 'simple', clients: 64 }),
    name: 'tpcb-64',
    about: 'pgbench TPC-B, 64 clients',
  },
  {
    name: 'churn',
    about: 'connect with SCRAM, one query, disconnect; 8 clients',
    unit: 'connects/s',
    targets: ALL,
    run: runChurn,
  },
  bulk('select', 'SELECT of a million rows'),
  bulk('copy-out', 'COPY TO STDOUT of a million rows'),
  bulk('copy-in', 'COPY FROM STDIN of a million rows'),
  {
    name: 'wide',
    about: `rows of ${WIDE_COLUMNS} columns, 20 kB each; 16 clients`,
    unit: 'tps',
    targets: ALL,
    prepare: prepareWide,
    run: (rig, target, seconds) => {
      const workload = { flags: ['-f', wideScript(rig)], mode: 'simple', clients: 16 } as const
      return runPgbench(rig.pgbench, target, workload, seconds)
    },
  },
  idle('idle', false),
  idle('idle-tls', true),
  {
    name: 'listen',
    about: 'a thousand clients listen to one channel; PgBouncer cannot',
    unit: 'notifications/s',
    targets: ['ours'],
    run: runListen,
  },
  {
    name: 'memory',
    about: 'each process after 60 s of -S with 64 clients and 10 s of rest',
    unit: 'tps',
    targets: PROXIES,
    run: (rig, target) => runMemory(rig, target),
  },
]

/** Those that `text` names: cases, or what stands before the dash of several. */
export function selectCases(text: string): Case[] {
  const wanted = text.split(',').map((word) => word.trim())
  for (const word of wanted) {
    if (CASES.every((one) => !isNamed(one, word))) throw new Error(`there is no case ${word}`)
  }
  return CASES.filter((one) => wanted.some((word) => isNamed(one, word)))
}

function isNamed({ name }: Case, word: string): boolean {
  return word === 'all' || name === word || name.startsWith(`${word}-`)
}

function pgbench(workload: Workload): Pick<Case, 'unit' | 'targets' | 'run'> {
  return {
    unit: 'tps',
    targets: ALL,
    run: (rig, target, seconds) => runPgbench(rig.pgbench, target, workload, seconds),
  }
}

function bulk(name: BulkKind, about: string): Case {
  return {
    name,
    about,
    unit: 'rows/s',
    targets: ALL,
    prepare: prepareBulk,
    run: (rig, target) => runBulk(rig, target, name),
  }
}

function idle(name: string, tls: boolean): Case {
  return {
    name,
    about: `10,000 idle clients beside 200 of pgbench -S${tls ? ', all with TLS' : ''}`,
    unit: 'tps',
    targets: PROXIES,
    run: (rig, target, seconds) => runIdle(rig, target, { clients: IDLE_CLIENTS, tls }, seconds),
  }
}

async function prepareWide(rig: Rig): Promise<void> {
  const columns = Array.from({ length: WIDE_COLUMNS }, (_, i) => `repeat('x', 200) as c${i}`)
  await rig.sql(`create unlogged table if not exists bench_wide as
    select i as id, ${columns.join(', ')} from generate_series(1, 1000) i`)
  await rig.sql('create unique index if not exists bench_wide_id on bench_wide (id)')
  await rig.sql('vacuum analyze bench_wide')
  const script = '\\set id random(1, 1000)\nselect * from bench_wide where id = :id;\n'
  await writeFile(wideScript(rig), script)
}

const wideScript = (rig: Rig): string => join(rig.dir, 'wide.sql')
