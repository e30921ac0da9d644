// A million rows out and in, by clients that do as little with them as may be.
import { measured, type Run, type Sample, type Target } from './measure.ts'
import { copyData, copyDone } from '../../shared/pgwire/frontend.ts'
import { RawClient } from './raw-client.ts'
import type { Rig } from './rig.ts'

const ROWS = 1_000_000
/** libpq sends COPY data in messages of about this size. */
const COPY_CHUNK_BYTES = 8192
const COPY_CHUNKS_A_WRITE = 8

/** What is measured of bulk data: rows out, and by COPY out and in. */
export type BulkKind = 'select' | 'copy-out' | 'copy-in'

/** The tables that they read and write. */
export async function prepareBulk(rig: Rig): Promise<void> {
  await rig.sql(`create unlogged table if not exists bench_rows as
    select i as id, 'row number ' || i || repeat(' ', 30) as text
    from generate_series(1, ${ROWS}) i`)
  await rig.sql('create unlogged table if not exists bench_copied (id int, text text)')
  await rig.sql('vacuum analyze bench_rows')
}

/** One pass. */
export async function runBulk(rig: Rig, target: Target, kind: BulkKind): Promise<Sample> {
  const { host, port } = target
  const client = await RawClient.connect({ host, port, secret: rig.secret })
  try {
    if (kind === 'copy-in') await client.query('truncate bench_copied')
    return await measured(target, () => pass(client, kind))
  } finally {
    client.close()
  }
}

async function pass(client: RawClient, kind: BulkKind): Promise<Run> {
  const beginMs = Date.now()
  if (kind === 'select') await client.query('select id, text from bench_rows')
  if (kind === 'copy-out') await client.query('copy bench_rows to stdout')
  if (kind === 'copy-in') await copyIn(client)
  return { units: ROWS, beginMs, endMs: Date.now() }
}

async function copyIn(client: RawClient): Promise<void> {
  const row = Buffer.from(`1234567\trow number 1234567${' '.repeat(30)}\n`)
  const rowsAChunk = Math.floor(COPY_CHUNK_BYTES / row.length)
  const chunk = copyData(Buffer.concat(Array.from({ length: rowsAChunk }, () => row)))
  const write = Buffer.concat(Array.from({ length: COPY_CHUNKS_A_WRITE }, () => chunk))
  const rowsAWrite = rowsAChunk * COPY_CHUNKS_A_WRITE
  // The CopyInResponse is not awaited: what is sent ahead of it waits in the proxy.
  const done = client.query('copy bench_copied from stdin')
  let left = ROWS
  for (; left >= rowsAWrite; left -= rowsAWrite) await client.send(write)
  if (left > 0) await client.send(copyData(Buffer.concat(Array.from({ length: left }, () => row))))
  await client.send(copyDone())
  await done
}
