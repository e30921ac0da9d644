// Goal: the embedded store holds when its processes race, die, freeze or lose the file.
// Method: real processes on one file; and a file that is tampered with through SQLite itself.
import { Database } from 'bun:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EmbeddedTopology } from '../../shared/topology/embedded/embedded-topology.ts'
import type { WatchEvent } from '../../shared/topology/topology.ts'
import { until } from '../support/until.ts'
import { connect, Consumer, Messages } from './stores.ts'

const PROCESS = join(import.meta.dir, 'embedded-process.ts')
const TTL_MS = 600

let dir: string
let path: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mg-embedded-'))
  path = join(dir, 'topology.db')
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

describe('processes', () => {
  test('that count together, on a file none of them has made yet, lose no step', async () => {
    const processes = Array.from({ length: 4 }, () => start('count', path, '50'))
    await using topology = await connect(`embedded:${path}`)
    await using seen = new Consumer(topology, '')
    expect(await Promise.all(processes.map((process) => process.exited))).toEqual([0, 0, 0, 0])
    await until(() => seen.state.get('counter') === '200')
    const values = seen.events.map((event) => Number(event.entry?.value))
    const first = values[0] ?? 0 // what was there already when the watch began
    expect(values).toEqual(Array.from({ length: 201 - first }, (_, i) => first + i))
  }, 20_000)

  test('one that is killed leaves its keys for a ttl, and a watch in another sees them go', async () => {
    await using topology = await connect(`embedded:${path}`)
    await using seen = new Consumer(topology, '')
    const owner = start('hold', path, String(TTL_MS), 'key')
    await until(() => seen.state.get('key') === String(owner.pid))
    owner.kill('SIGKILL')
    await owner.exited
    await until(() => !seen.state.has('key'))
    expect(await topology.get('key')).toBeUndefined()
  })

  test('one that was frozen for longer than its ttl has lost its lease and knows it', async () => {
    await using topology = await connect(`embedded:${path}`)
    await using seen = new Consumer(topology, '')
    const owner = start('hold', path, String(TTL_MS), 'key')
    await until(() => seen.state.has('key'))
    owner.kill('SIGSTOP')
    await until(() => !seen.state.has('key'))
    owner.kill('SIGCONT')
    expect(await firstLines(owner, 2)).toEqual(['held', 'lost'])
    expect(await topology.get('key')).toBeUndefined()
    owner.kill('SIGKILL')
  })

  test('a write waits for another that takes long', async () => {
    await using topology = await connect(`embedded:${path}`)
    await topology.put('x', '1')
    using other = new Database(path)
    other.run('BEGIN IMMEDIATE')
    const writing = topology.put('x', '2')
    expect((await topology.get('x'))?.value).toBe('1') // readers never wait
    other.run('ROLLBACK')
    expect((await writing).value).toBe('2')
  })
})

describe('history', () => {
  const options = { log: new Messages().log, historyRevisionsMax: 16 }

  test('a watch from before it is refused', async () => {
    await using topology = new EmbeddedTopology(path, options)
    for (let i = 0; i < 40; i++) await topology.put('x', String(i))
    await using seen = new Consumer(topology, '', 3n)
    await until(() => seen.ended)
    expect(seen.failure).toHaveProperty('condition', 'compacted')
  })

  test('a watch that fell behind it tells what changed and what is gone', async () => {
    await using topology = new EmbeddedTopology(path, options)
    for (const key of ['kept', 'gone', 'changed']) await topology.put(key, '1')
    const stop = new AbortController()
    const watch = topology.watch('', { signal: stop.signal })[Symbol.asyncIterator]()
    expect((await watch.next()).value).toHaveLength(3)
    await topology.delete('gone')
    for (let i = 0; i < 40; i++) await topology.put('changed', `${i}`)
    const events = ((await watch.next()).value ?? []) as WatchEvent[]
    expect(events.map((event) => [event.type, event.key, event.entry?.value])).toEqual([
      ['delete', 'gone', undefined],
      ['put', 'changed', '39'],
    ])
    stop.abort()
  })

  test('no more of it is kept than was said', async () => {
    await using topology = new EmbeddedTopology(path, options)
    for (let i = 0; i < 100; i++) await topology.put('x', `${i}`)
    using db = new Database(path)
    const count = db.query<{ n: number }, []>('SELECT count(*) AS n FROM events').get()?.n
    expect(count).toBeGreaterThanOrEqual(16)
    expect(count).toBeLessThanOrEqual(18)
  })
})

describe('leases', () => {
  test('of another boot have expired', async () => {
    await using topology = await connect(`embedded:${path}`)
    await using seen = new Consumer(topology, '')
    const lease = await topology.grantLease(TTL_MS)
    await topology.create('key', '', { lease })
    await until(() => seen.state.has('key'))
    using db = new Database(path)
    db.run("UPDATE leases SET boot_id = 'the boot before'")
    await until(() => !seen.state.has('key'))
    await until(() => lease.lost.aborted)
  })
})

describe('the file', () => {
  test('is for its owner only', async () => {
    await using topology = await connect(`embedded:${join(dir, 'new', 'topology.db')}`)
    await topology.put('x', '1')
    expect(statSync(join(dir, 'new')).mode & 0o777).toBe(0o700)
    for (const end of ['', '-wal', '-shm']) {
      expect(statSync(join(dir, 'new', `topology.db${end}`)).mode & 0o777).toBe(0o600)
    }
  })

  test('keeps what was written when the last process closes it', async () => {
    const first = await connect(`embedded:${path}`)
    const entry = await first.put('x', '1')
    await first[Symbol.asyncDispose]()
    await using second = await connect(`embedded:${path}`)
    expect(await second.get('x')).toEqual(entry)
  })

  test('removed and made anew by another is noticed, and the loss told', async () => {
    await using topology = await connect(`embedded:${path}`)
    await using seen = new Consumer(topology, '')
    for (let i = 0; i < 5; i++) await topology.put(`old${i}`, '')
    await until(() => seen.state.size === 5)
    for (const end of ['', '-wal', '-shm']) rmSync(path + end, { force: true })
    await using other = await connect(`embedded:${path}`)
    await other.put('new', '')
    await until(() => [...seen.state.keys()].join() === 'new')
    expect((await topology.list('')).entries.map((entry) => entry.key)).toEqual(['new'])
  })

  test('that is no topology is refused, and left alone', async () => {
    writeFileSync(path, 'a letter to my aunt, of some length, so that it is not taken for empty')
    await using topology = await connect(`embedded:${path}`)
    expect(await conditionOf(topology.get('x'))).toBe('unavailable')
    const foreign = join(dir, 'foreign.db')
    using db = new Database(foreign)
    db.run('PRAGMA user_version = 7')
    await using other = await connect(`embedded:${foreign}`)
    expect(await conditionOf(other.get('x'))).toBe('invalid')
    expect(statSync(path).size).toBe(70)
  })

  test('that cannot be made is unavailable until it can', async () => {
    writeFileSync(join(dir, 'folder'), 'a file where a folder should be')
    await using topology = await connect(`embedded:${join(dir, 'folder', 'topology.db')}`)
    await using seen = new Consumer(topology, '')
    expect(await conditionOf(topology.put('x', '1'))).toBe('unavailable')
    rmSync(join(dir, 'folder'))
    await topology.put('x', '1')
    await until(() => seen.state.get('x') === '1')
  })
})

function start(...args: string[]): Bun.Subprocess<'ignore', 'pipe', 'inherit'> {
  return Bun.spawn([process.execPath, PROCESS, ...args], {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'inherit',
  })
}

/** The first lines that a process says. */
async function firstLines(
  child: Bun.Subprocess<'ignore', 'pipe', 'inherit'>,
  count: number,
): Promise<string[]> {
  let text = ''
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk
    if (text.split('\n').length > count) break
  }
  return text.split('\n').slice(0, count)
}

async function conditionOf(operation: Promise<unknown>): Promise<unknown> {
  return await operation.then(
    () => undefined,
    (error: { condition?: string }) => error.condition ?? error,
  )
}
