// Goal: a full disk, of data, of promises or of both, on a follower or on the leader, loses no
// acknowledged write, makes no second leader, stops nobody else, is said in words, and when there
// is room again all is whole by itself.
// Method: real nodes, a gateway and writers; each node's two folders are file systems of their own.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PromiseFile } from '../../pooler/term/promise-file.ts'
import { NO_REVOCATION } from '../../shared/consensus/revocation.ts'
import { readJournal } from '../../shared/events/journal-file.ts'
import { callUnary } from '../../shared/rpc/client.ts'
import { Client } from '../chaos/client.ts'
import { type Site, startSite } from '../chaos/site.ts'
import { pause } from '../support/pace.ts'
import { until } from '../support/until.ts'
import { failureOf } from './shard.ts'
import { SmallDisk, whyNoDisks } from './small-disk.ts'

const DATA_MB = 200
const STATE_MB = 1
const WRITERS = 4
const WRITE_EVERY_MS = 5
/** How long a disk stays full; long is longer than all starts that damaged data would get. */
const FULL_MS = 5000
const LONG_MS = 25_000
/**
 * From a leader's disk being full to writes of everybody again: it is stopped in good order first,
 * for ten seconds at most, and the machine may be busy.
 */
const HANDED_OVER_MS = 45_000
/** A follower's disk is nothing that a client waits for. */
const UNTOUCHED_MS = 2000
/** What a client may hear: no room, nobody to write, an end of the session, an unknown outcome. */
const HEARD = /^(53100|57P0[1-5]|40003|40001|0800[367]|no session)$/
const SETTINGS = ['max_wal_size=64MB', 'min_wal_size=32MB', 'wal_keep_size=32MB']

setDefaultTimeout(180_000)
const why = whyNoDisks()
const scene = why === undefined ? test : test.skip
if (why !== undefined) console.log(`skipped: ${why}`)

class Writers implements AsyncDisposable {
  readonly acknowledged: string[] = []
  readonly heard = new Map<string, number>()
  longestMs = 0
  #stopped = false
  readonly #running: Promise<void>[]

  constructor(site: Site) {
    const addresses = site.gateways.map(({ address }) => address)
    this.#running = Array.from({ length: WRITERS }, (_, at) =>
      this.#run(new Client(`w${at}`, addresses), String(at)),
    )
  }

  async #run(client: Client, name: string): Promise<void> {
    await using _ = client
    let lastMs = performance.now()
    for (let at = 0; !this.#stopped; at += 1) {
      const row = `${name}-${at}`
      const { code } = await client.run(`INSERT INTO written VALUES ('${row}', repeat('x', 2000))`)
      const nowMs = performance.now()
      if (code === '') {
        this.acknowledged.push(row)
        this.longestMs = Math.max(this.longestMs, nowMs - lastMs)
        lastMs = nowMs
      } else this.heard.set(code, (this.heard.get(code) ?? 0) + 1)
      await pause(WRITE_EVERY_MS)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#running)
  }
}

type Disks = { readonly data: SmallDisk; readonly state: SmallDisk }

let folder: string
let site: Site
const disks = new Map<string, Disks>()
beforeAll(async () => {
  if (why !== undefined) return
  folder = mkdtempSync(join(tmpdir(), 'mg-disk-'))
  chmodSync(folder, 0o755)
  const folders = (id: string) => {
    const made = {
      data: new SmallDisk(join(folder, id, 'data'), DATA_MB),
      state: new SmallDisk(join(folder, id, 'state'), STATE_MB),
    }
    disks.set(id, made)
    return { data: made.data.path, state: made.state.path }
  }
  site = await startSite({ supervised: true, folders, settings: SETTINGS })
  const leader = await site.whole()
  await leader.sql('CREATE TABLE written (row text PRIMARY KEY, pad text)')
}, 180_000)
afterAll(async () => {
  if (why !== undefined) return
  await site[Symbol.asyncDispose]()
  for (const { data, state } of disks.values()) {
    data[Symbol.dispose]()
    state[Symbol.dispose]()
  }
  rmSync(folder, { recursive: true, force: true })
}, 60_000)

/** Problems that orch sees now. */
async function problems(): Promise<string[]> {
  const request = { database: '', shard: '' }
  const reply = await callUnary(site.orchClient, 'getShardStatus', request, { timeoutMs: 3000 })
  return reply.shards.flatMap((shard) =>
    shard.problems.map(({ code, poolerId, description }) => `${code} ${poolerId}: ${description}`),
  )
}

/** What the orchestrators told since `sinceMs`, by the wall clock. */
function story(sinceMs: number): string[] {
  return ['zone1_orch1', 'zone1_orch2'].flatMap((id) =>
    readJournal(join(site.dir, id))
      .filter((event) => Number(event.atUnixMs) >= sinceMs)
      .map(({ text }) => text),
  )
}

async function play(who: 'leader' | 'follower', which: readonly (keyof Disks)[]): Promise<void> {
  const leader = await site.whole()
  await leader.sql('TRUNCATE written')
  const node = who === 'leader' ? leader : site.nodes.find(({ id }) => id !== leader.id)
  if (node === undefined) throw new Error('there is one node only')
  const full = which.includes('data')
  const told = new Set<string>()
  const sinceMs = Date.now()
  const writers = new Writers(site)
  try {
    await until(() => writers.acknowledged.length > 100)
    for (const disk of which) disks.get(node.id)?.[disk].fill()
    const began = performance.now()
    const fullMs = which.length > 1 ? LONG_MS : FULL_MS
    while (performance.now() - began < fullMs) {
      await site.serving()
      for (const problem of await problems()) told.add(problem)
      await pause(100)
    }
    const before = writers.acknowledged.length
    await until(() => writers.acknowledged.length > before + 100, { deadlineMs: HANDED_OVER_MS })
    const after = await site.serving()
    if (who === 'leader' && full) expect(after?.id).not.toBe(node.id)
    else expect(after?.id).toBe(leader.id)
  } catch (error) {
    console.error(site.logs(12))
    throw error
  } finally {
    for (const disk of which) disks.get(node.id)?.[disk].free()
    await site.whole(60_000)
    await writers[Symbol.asyncDispose]()
  }
  expect(writers.longestMs).toBeLessThan(who === 'leader' ? HANDED_OVER_MS : UNTOUCHED_MS)
  for (const code of writers.heard.keys()) expect(code).toMatch(HEARD)
  const named = [...told, ...story(sinceMs)]
    .filter((line) => line.includes(`${node.id}: the disk`))
    .join()
  for (const disk of which) {
    expect(named).toContain(`the disk of its ${disk === 'data' ? 'data' : 'promises'} is full`)
  }
  if (who === 'leader' && full) expect([...writers.heard.keys()]).toContain('53100')
  const heard = [...writers.heard].map(([code, times]) => `${code} ${times} times`)
  console.log(
    `${who}, ${which.join(' and ')}: longest wait ${Math.round(writers.longestMs)} ms; ${heard.join()}`,
  )
  const last = await site.whole()
  const rows = new Set((await last.sql('SELECT row FROM written')).map(({ row }) => String(row)))
  expect(writers.acknowledged.filter((row) => !rows.has(row))).toEqual([])
  expect(node.pooler.log).not.toContain('its data is given up')
  await until(async () => !(await problems()).some((problem) => problem.includes(node.id)))
}

for (const who of ['follower', 'leader'] as const) {
  for (const which of [['data'], ['state'], ['data', 'state']] as const) {
    scene(`${who}: ${which.join(' and ')}`, () => play(who, which))
  }
}

scene('a promise has its room from the start, and without room none is made', async () => {
  using disk = new SmallDisk(join(folder, 'alone'), STATE_MB)
  const state = join(disk.path, 'state')
  mkdirSync(state)
  disk.fill()
  expect(await failureOf(PromiseFile.create(state))).toContain('ENOSPC')
  expect(await PromiseFile.open(state)).toBeUndefined()
  disk.free()
  await using made = await PromiseFile.create(state)
  disk.fill()
  const revocation = { ...NO_REVOCATION, revokedBelowTerm: 7n, coordinatorId: 'zone1_orch1' }
  for (let at = 0; at < 10; at += 1) await made.update({ revocation, opened: BigInt(at) })
  await using again = await PromiseFile.open(state)
  expect(again?.state).toEqual({ ...made.state, revocation, opened: 9n })
})
