// Goal: rows and copies of any size pass in bounded memory.
// Method: psql's \copy of 1 GB in and out (COPY_MB), and a single row of 200 MB, through the gateway
// of a real cluster; the resident memory of gateway and pooler is read from /proc all the while.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bind, execute, parse, sync } from '../../shared/pgwire/frontend.ts'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { debianTool } from '../support/debian.ts'
import { Frontend } from '../support/frontend.ts'
import { dataProcesses, growthDuring, inMegabytes, type DataProcesses } from './memory.ts'

const MB = 1024 * 1024
const COPY_BYTES = Number(Bun.env['COPY_MB'] ?? 1024) * MB
const ROW_BYTES = 200 * MB
/** What gateway and pooler may each take over their idle memory. */
const GROWTH_BYTES_MAX = 20 * MB

const psql = await debianTool('psql')
const skipped = 'skipped' in psql
if (skipped) console.error(`psql is not there: ${psql.skipped}`)

let cluster: Cluster | undefined
let pids: DataProcesses
const dir = mkdtempSync(join(tmpdir(), 'mg-bulk-'))

beforeAll(async () => {
  if (skipped) return
  cluster = await startCluster({ poolers: 1 })
  pids = await dataProcesses(cluster)
  await runPsql('create table bulk (id bigint, body text)')
  await runPsql('select 1')
}, 120_000)
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]()
  rmSync(dir, { recursive: true })
}, 60_000)

/** psql with one command; `stdout` may be a file. */
function startPsql(command: string, stdout: 'pipe' | Bun.BunFile = 'pipe') {
  if ('skipped' in psql) throw new Error(psql.skipped)
  const url = cluster?.url ?? ''
  return Bun.spawn([psql.path, '-X', '-q', '-A', '-t', url, '-c', command], {
    env: { ...process.env, ...psql.env, PGSSLMODE: 'disable' },
    stdout,
    stderr: 'pipe',
  })
}

async function runPsql(command: string): Promise<string> {
  const child = startPsql(command)
  const [out, err] = await Promise.all([
    new Response(child.stdout as ReadableStream).text(),
    child.stderr.text(),
  ])
  if ((await child.exited) !== 0) throw new Error(err)
  return out.trim()
}

function expectBounded(what: string, growth: { gateway: number; pooler: number }): void {
  console.error(`${what}, over idle: ${inMegabytes(growth)}`)
  expect(growth.gateway).toBeLessThanOrEqual(GROWTH_BYTES_MAX)
  expect(growth.pooler).toBeLessThanOrEqual(GROWTH_BYTES_MAX)
}

/** Rows of the table as COPY writes them; how many. */
async function writeRows(file: string): Promise<number> {
  const body = `${'x'.repeat(1000)}\n`
  const count = Math.ceil(COPY_BYTES / (body.length + 8))
  const writer = Bun.file(file).writer()
  for (let i = 0; i < count; i += 1) {
    void writer.write(`${i}\t${body}`)
    if (i % 10_000 === 0) await writer.flush()
  }
  await writer.end()
  return count
}

test.skipIf(skipped)(
  'a copy of 1 GB goes in and out',
  async () => {
    const [inFile, outFile] = [join(dir, 'in.copy'), join(dir, 'out.copy')]
    const rows = await writeRows(inFile)
    const into = await growthDuring(pids, () => runPsql(`\\copy bulk from '${inFile}'`))
    const sum = (BigInt(rows) * BigInt(rows - 1)) / 2n
    expect(await runPsql('select count(*), sum(id) from bulk')).toBe(`${rows}|${sum}`)
    const select = 'select * from bulk order by id'
    const out = await growthDuring(pids, () => runPsql(`\\copy (${select}) to '${outFile}'`))
    expect(Bun.spawnSync(['cmp', inFile, outFile]).exitCode).toBe(0)
    expectBounded('copy in', into)
    expectBounded('copy out', out)
  },
  900_000,
)

test.skipIf(skipped)(
  'a single row of 200 MB comes whole',
  async () => {
    const text = `repeat('0123456789', ${ROW_BYTES / 10})`
    const hash = await runPsql(`select md5(${text})`)
    const file = Bun.file(join(dir, 'row'))
    const growth = await growthDuring(pids, async () => {
      const child = startPsql(`select ${text}`, file)
      if ((await child.exited) !== 0) throw new Error(await child.stderr.text())
    })
    const hasher = new Bun.CryptoHasher('md5')
    for await (const chunk of file.slice(0, ROW_BYTES).stream()) hasher.update(chunk)
    expect(file.size).toBe(ROW_BYTES + 1)
    expect(hasher.digest('hex')).toBe(hash)
    expectBounded('a row of 200 MB', growth)
  },
  240_000,
)

test.skipIf(skipped)(
  'a parameter of 100 MB goes in',
  async () => {
    const port = Number(new URL(cluster?.url ?? '').port)
    await using frontend = await Frontend.connect({ host: '127.0.0.1', port })
    const value = Buffer.alloc(100 * MB, 'p')
    const growth = await growthDuring(pids, async () => {
      frontend.send(parse('select md5($1)'), bind({ values: [value] }), execute(), sync())
      const lines = await frontend.untilReadyForQuery()
      expect(lines[2]).toBe(`DataRow ${new Bun.CryptoHasher('md5').update(value).digest('hex')}`)
    })
    expectBounded('a parameter of 100 MB', growth)
  },
  120_000,
)
