// Goal: a follower that was away for longer than its leader keeps WAL becomes a copy of it, once, and
// the story of it is told.
// Method: real nodes and an orchestrator; while the follower is down the leader fills segments and
// drops them.
import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { readJournal } from '../../shared/events/journal-file.ts'
import { until } from '../support/until.ts'
import { startShard } from './shard.ts'

const TEST_MS = 150_000
const SEGMENTS = 4

test(
  'a follower whose WAL its leader has dropped',
  async () => {
    await using shard = await startShard({ settings: ['wal_keep_size=0'] })
    const { id } = await shard.leader(1n, TEST_MS)
    await shard.streaming(2, TEST_MS)
    const leader = shard.node(id)
    await leader.sql('CREATE TABLE written (row int PRIMARY KEY)')
    const follower = await shard.follower()
    await follower.stop()
    for (let row = 1; row <= SEGMENTS; row++) {
      await leader.sql(`INSERT INTO written VALUES (${row})`)
      await leader.sql('SELECT pg_switch_wal()')
      await leader.sql('CHECKPOINT')
    }
    follower.start()
    await shard.streaming(2, 90_000)
    const count = `SELECT count(*)::int AS rows FROM written`
    await until(async () => (await follower.sql(count))[0]?.['rows'] === SEGMENTS)
    expect(follower.pooler.log.split('"cloned"').length).toBe(2 + 1) // when it joined, and now
    expect((await shard.leader()).id).toBe(id)
    await until(async () => (await follower.status()).blocked === '')
    const story = () => readJournal(join(shard.dir, 'orch1'))
    await until(() => {
      const told = story().filter(({ member }) => member === follower.id)
      const why = /the leader cannot stream from .* has already been removed/
      const at = told.findIndex(({ kind, text }) => kind === 'action.began' && why.test(text))
      return at >= 0 && told.slice(at).some(({ kind }) => kind === 'clone.ended')
    })
  },
  TEST_MS,
)
