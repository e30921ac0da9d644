// Goal: no message, however wrong, hangs a session of the console, shows a bug or leaves anything.
// Method: seeded scripts of sound and broken messages in whole frames, then Sync and Terminate; each
// connection must end by itself, none with XX000, and no session may be left.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import * as messages from '../../shared/pgwire/frontend.ts'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { Random } from '../support/random.ts'
import { until } from '../support/until.ts'
import { addressOf, Admin } from './admin.ts'

const SCRIPTS = 150
const SEED = 7

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster({ poolers: 1 })
}, 120_000)

afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]()
})

const TEXTS = [
  'show pools',
  'show state;show lists',
  '',
  '; ;',
  'pause nosuch',
  'set x=1',
  '/*',
  '"',
]
const NAMES = ['', 'a', 'b']
const TYPES = [0x51, 0x50, 0x42, 0x44, 0x45, 0x46, 0x64, 0x63, 0x66, 0x70, 0x00, 0xff, 0x43]

function messageFrom(random: Random): Buffer {
  const text = random.pick(TEXTS)
  const name = random.pick(NAMES)
  const makers = [
    () => messages.query(text),
    () => messages.parse(text, { name }),
    () =>
      messages.bind({ portal: name, statement: name, values: random.chance(0.25) ? ['1'] : [] }),
    () => messages.execute({ portal: name, rowsMax: random.integer(3) }),
    () => messages.describe(random.chance(0.5) ? { statement: name } : { portal: name }),
    () => messages.close({ statement: name }),
    () => messages.sync(),
    () => noise(random),
  ]
  return Buffer.from(random.pick(makers)())
}

/** A frame of some type whose length is right, and nothing else. */
function noise(random: Random): Buffer {
  const body = random.bytes(random.integer(12))
  return Buffer.from([random.pick(TYPES), 0, 0, 0, 4 + body.length, ...body])
}

test('sessions end by themselves, without a bug and without a trace', async () => {
  const random = new Random(SEED)
  for (let script = 0; script < SCRIPTS; script += 1) {
    await using admin = await Admin.connect(addressOf(cluster.url))
    const { frontend } = admin
    for (let left = 1 + random.integer(8); left > 0; left -= 1) frontend.send(messageFrom(random))
    frontend.send(messages.sync(), messages.terminate())
    const lines = await frontend.untilClosed()
    expect(lines.filter((line) => line.includes('XX000'))).toEqual([])
  }
  await using admin = await Admin.connect(addressOf(cluster.url))
  await until(async () => (await admin.row('LISTS', { list: 'used_clients' }))['items'] === '1')
}, 60_000)
