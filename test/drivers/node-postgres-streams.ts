import { expect, test } from 'bun:test'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import Cursor from 'pg-cursor'
import QueryStream from 'pg-query-stream'
import type { Server } from '../support/servers.ts'
import { connect } from './node-postgres.ts'

const COPY_ROWS = 200_000
const LINES_PER_CHUNK = 1000
/** What goes before the stream breaks. */
const CHUNKS_BEFORE_ABORT = 5

const codeOf = (error: unknown): string => (error as { code: string }).code
const wordsOf = (error: unknown): string => (error as Error).message

/** Rows `N<tab>row N` in chunks that end anywhere in a line. */
function* copyText(rows: number): Generator<Buffer> {
  let rest = ''
  for (let i = 0; i < rows; i += LINES_PER_CHUNK) {
    const lines = Array.from({ length: LINES_PER_CHUNK }, (_, at) => `${i + at}\trow ${i + at}\n`)
    const text = rest + lines.join('')
    rest = text.slice(-7)
    yield Buffer.from(text.slice(0, -7))
  }
  yield Buffer.from(rest)
}

/** pg-cursor, pg-query-stream and pg-copy-streams: portals kept open, and COPY both ways. */
export function nodePostgresStreamTests(server: () => Server): void {
  test('a cursor reads in portions, stops early, and the session goes on', async () => {
    await using client = await connect(server())
    const text = 'select n, repeat($1, 10) as body from generate_series(1, 1000) n'
    const cursor = client.query(new Cursor<{ n: number }>(text, ['x']))
    expect((await cursor.read(3)).map(({ n }) => n)).toEqual([1, 2, 3])
    expect((await cursor.read(2)).map(({ n }) => n)).toEqual([4, 5])
    await cursor.close()
    expect((await client.query('select 1 as n')).rows[0].n).toBe(1)
  })

  test('a cursor in a transaction, between other statements of it', async () => {
    await using client = await connect(server())
    await client.query('begin')
    const cursor = client.query(new Cursor<{ n: number }>('select generate_series(1, 5) as n'))
    expect(await cursor.read(2)).toHaveLength(2)
    expect((await cursor.read(100)).map(({ n }) => n)).toEqual([3, 4, 5])
    expect(await cursor.read(100)).toEqual([])
    await cursor.close()
    expect((await client.query('commit')).command).toBe('COMMIT')
  })

  test('a cursor that fails on the way tells it, and the session goes on', async () => {
    await using client = await connect(server())
    const cursor = client.query(new Cursor('select 10 / (5 - n) from generate_series(1, 9) n'))
    expect(await cursor.read(3)).toHaveLength(3)
    expect(await cursor.read(10).catch(codeOf)).toBe('22012')
    expect((await client.query('select 1 as n')).rows[0].n).toBe(1)
  })

  test('a stream of rows gives all of them in order', async () => {
    await using client = await connect(server())
    const text = 'select n, repeat($1, 100) as body from generate_series(1, 20000) n'
    const stream = client.query(new QueryStream(text, ['y'], { batchSize: 500 }))
    let next = 1
    for await (const row of stream as AsyncIterable<{ n: number; body: string }>) {
      if (row.n !== next || row.body.length !== 100) throw new Error(`row ${row.n} after ${next}`)
      next += 1
    }
    expect(next).toBe(20_001)
  })

  test('a stream of rows left in the middle frees the session', async () => {
    await using client = await connect(server())
    const text = 'select n from generate_series(1, 100000) n'
    let seen = 0
    for await (const _ of client.query(new QueryStream(text, [], { batchSize: 100 }))) {
      seen += 1
      if (seen === 250) break
    }
    expect((await client.query('select 1 as n')).rows[0].n).toBe(1)
  })

  test('COPY of many rows goes in and comes out as it was', async () => {
    await using client = await connect(server())
    await client.query(
      'drop table if exists pg_streams; create table pg_streams (n int, body text)',
    )
    const into = client.query(copyFrom('copy pg_streams from stdin'))
    await pipeline(Readable.from(copyText(COPY_ROWS)), into)
    expect(into.rowCount).toBe(COPY_ROWS)
    const hasher = new Bun.CryptoHasher('md5')
    const out = client.query(copyTo('copy (select * from pg_streams order by n) to stdout'))
    for await (const chunk of out) hasher.update(chunk as Buffer)
    const wanted = new Bun.CryptoHasher('md5')
    for (const chunk of copyText(COPY_ROWS)) wanted.update(chunk)
    expect(hasher.digest('hex')).toBe(wanted.digest('hex'))
    await client.query('drop table pg_streams')
  })

  test('COPY whose source breaks leaves nothing, and the session goes on', async () => {
    await using client = await connect(server())
    await client.query('drop table if exists pg_abort; create table pg_abort (n int, body text)')
    function* breaking(): Generator<Buffer> {
      let left = CHUNKS_BEFORE_ABORT
      for (const chunk of copyText(COPY_ROWS)) {
        if (left-- === 0) throw new Error('the source broke')
        yield chunk
      }
    }
    const into = client.query(copyFrom('copy pg_abort from stdin'))
    const said = await pipeline(Readable.from(breaking()), into).catch(wordsOf)
    expect(said).toBe('the source broke')
    expect((await client.query('select count(*)::int as n from pg_abort')).rows[0].n).toBe(0)
  })

  test('COPY of a bad row is its error, and the session goes on', async () => {
    await using client = await connect(server())
    await client.query('create temp table pg_bad (n int)')
    const into = client.query(copyFrom('copy pg_bad from stdin'))
    const said = await pipeline(Readable.from([Buffer.from('1\nx\n3\n')]), into).catch(codeOf)
    expect(said).toBe('22P02')
    expect((await client.query('select count(*)::int as n from pg_bad')).rows[0].n).toBe(0)
  })

  test('COPY out that the reader gives up ends with the connection, not with the server', async () => {
    await using other = await connect(server())
    const client = await connect(server())
    client.on('error', () => {}) // the cut below is wanted
    const text = "copy (select repeat('z', 1000) from generate_series(1, 1000000)) to stdout"
    const out = client.query(copyTo(text))
    let seen = 0
    const taster = new Writable({
      write(chunk: Buffer, _encoding, done) {
        seen += chunk.length
        done(seen > 100_000 ? new Error('enough') : null)
      },
    })
    expect(await pipeline(out, taster).catch(wordsOf)).toBe('enough')
    ;(
      client as unknown as { connection: { stream: { destroy(): void } } }
    ).connection.stream.destroy()
    expect((await other.query('select 1 as n')).rows[0].n).toBe(1)
  })
}
