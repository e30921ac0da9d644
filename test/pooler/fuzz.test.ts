// Goal: no order of frames, and no bytes in them, crash the pooler or disturb another gateway.
// Method: seeded random frames, valid ones and damaged ones, on links of their own, while a session
// on another link works. At the end nothing of them is left.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { BATCH_HEAD_BYTES, Flag, Kind, Op } from '../../shared/link/frame.ts'
import {
  bind,
  close,
  copyData,
  copyDone,
  execute,
  flush,
  parse,
  query,
  sync,
} from '../../shared/pgwire/frontend.ts'
import { Random } from '../support/random.ts'
import { until } from '../support/until.ts'
import { startHarness, type Harness } from './harness.ts'
import type { TestLink } from './test-link.ts'

setDefaultTimeout(60_000)
const SEEDS = [11, 12, 13, 14]
const FRAMES = 1500

let h: Harness
beforeAll(async () => {
  h = await startHarness({ poolSize: 3, poolWarmSize: 0, poolWaitTimeoutMs: 500 })
})
afterAll(() => h[Symbol.asyncDispose]())

const MESSAGES = [
  query('select 1'),
  query('begin'),
  query('commit'),
  query("select repeat('x', 300000)"),
  query('create temp table if not exists f (a text); copy f from stdin'),
  query('copy (select 1) to stdout'),
  parse('select 2'),
  parse('select 3', { name: 'mg_1' }),
  parse('bad'),
  bind(),
  bind({ statement: 'mg_1' }),
  execute(),
  execute({ rowsMax: 1 }),
  close({ statement: 'mg_1' }),
  copyData(Buffer.from('x\n')),
  copyDone(),
  flush(),
  sync(),
  sync(),
]

function payload(random: Random): Buffer {
  const count = random.integer(5)
  const bytes = Buffer.concat(Array.from({ length: count }, () => random.pick(MESSAGES)))
  if (random.chance(0.9) || bytes.length === 0) return bytes
  const damaged = Buffer.from(bytes)
  damaged[random.integer(damaged.length)] = random.integer(256)
  return random.chance(0.5) ? damaged : damaged.subarray(0, random.integer(damaged.length))
}

function withOps(random: Random, raw: Buffer): { flags: number; bytes: Buffer } {
  if (random.chance(0.6)) return { flags: 0, bytes: raw }
  const count = random.integer(4)
  const table = Buffer.alloc(4 + count * 8)
  table.writeUInt16BE(random.chance(0.05) ? 60_000 : count, 0)
  for (let at = 4; at < table.length; at += 8) {
    table[at] = random.pick([Op.Parse, Op.Need, Op.Injected, Op.Forget, Op.InjectedClose, 99])
    table.writeUInt16BE(random.chance(0.9) ? random.integer(raw.length + 1) : 65_000, at + 2)
    table.writeUInt32BE(random.integer(3), at + 4)
  }
  return { flags: Flag.HasOps, bytes: Buffer.concat([table, raw]) }
}

function batchHead(random: Random): Buffer {
  const head = Buffer.alloc(BATCH_HEAD_BYTES)
  head.writeBigUInt64BE(random.chance(0.95) ? 1n : 2n, 0)
  if (random.chance(0.1)) head.writeUInt32BE(random.integer(1 << 16), 16)
  return head
}

function sendRandom(link: TestLink, random: Random): void {
  const { connection } = link
  const stream = 1 + random.integer(6)
  const flags = random.pick([0, Flag.Final, Flag.Boundary, Flag.Final | Flag.Boundary])
  const { flags: table, bytes } = withOps(random, payload(random))
  const number = random.integer(5)
  const dice = random.next()
  if (dice < 0.15) {
    const user = random.pick(['postgres', 'nobody', '', 'a\0b'])
    const hello = { user, database: 'postgres', options: [], client: '', session: stream }
    connection.sendJson(Kind.Open, stream, 0, random.chance(0.95) ? hello : [hello])
  } else if (dice < 0.5) {
    const whole = Buffer.concat([batchHead(random), bytes])
    const cut = random.chance(0.97) ? whole.length : random.integer(whole.length)
    connection.send(Kind.Batch, stream, flags | table, 0, 0, number, whole, 0, cut)
  } else if (dice < 0.75) {
    connection.send(Kind.Data, stream, flags | table, 0, 0, 0, bytes)
  } else if (dice < 0.85) {
    connection.send(Kind.Credit, stream, 0, 0, 0, random.pick([0, 10, 65_536, 4e9]))
  } else if (dice < 0.9) {
    connection.send(Kind.Cancel, stream, 0, 0, 0, number)
  } else if (dice < 0.97) {
    connection.send(Kind.Close, stream, 0, 0, 0, 0)
  } else if (dice < 0.99) {
    link.define(1, parse('select 3', { name: 'mg_1' }))
  } else {
    const kind = random.pick([Kind.Define, Kind.Release, Kind.Login, Kind.Health, 200])
    connection.send(kind, random.integer(2), 0, 0, 0, 1, bytes)
  }
}

test.each(SEEDS)('random frames end sessions or links, nothing else (seed %d)', async (seed) => {
  const random = new Random(seed)
  const healthy = await h.link.open()
  let links = 0
  let link: TestLink | undefined
  for (let i = 0; i < FRAMES; i++) {
    if (link === undefined || link.closedBy !== null) {
      link = await h.connect()
      links++
    }
    sendRandom(link, random)
    if (i % 25 !== 0) continue
    // The others may have all backends for a moment: a wait that fails is an answer, too.
    const lines = await healthy.run(query('select 1'))
    expect(lines[1] ?? lines[0]).toMatch(/^(DataRow 1|REFUSED pool_wait 53300)$/)
  }
  link?.close()
  await until(() => h.server.executor.links.size === 1, 10_000)
  const { pools } = h.server.executor
  await until(() => pools.waitingTotal === 0 && h.server.sessions === 0, 10_000)
  await until(
    () => [...pools.pools.values()].every((pool) => pool.idle.length === pool.size),
    10_000,
  )
  expect(links).toBeGreaterThan(1)
  expect((await healthy.run(query('select 1')))[1]).toBe('DataRow 1')
  await healthy.close()
})
