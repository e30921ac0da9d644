// Goal: a whole cell of three may be lost under multi_cell_at_least_2, with the leader in it.
// Method: five real nodes and an orchestrator; those of the leader's cell are stopped, and started
// again.
import { expect, test } from 'bun:test'
import { startShard } from './shard.ts'

const TEST_MS = 240_000

test(
  'five in three cells lose a whole one',
  async () => {
    const durability = 'multi_cell_at_least_2'
    await using shard = await startShard({ poolers: 5, cells: 3, durability })
    await shard.leader(1n, TEST_MS)
    await shard.streaming(4, TEST_MS)
    const before = await shard.leader()
    await shard.node(before.id).sql('CREATE TABLE written (row int PRIMARY KEY)')
    await shard.node(before.id).sql('INSERT INTO written VALUES (1)')
    const cell = before.id.slice(0, before.id.indexOf('_'))
    const lost = shard.nodes.filter(({ id }) => id.startsWith(`${cell}_`))
    await Promise.all(lost.map((node) => node.stop()))
    const after = await shard.leader(2n, 60_000)
    expect(after.id.startsWith(`${cell}_`)).toBe(false)
    expect(await shard.node(after.id).sql('SELECT row FROM written')).toEqual([{ row: 1 }])
    await shard.node(after.id).sql('INSERT INTO written VALUES (2)')
    for (const node of lost) node.start()
    await shard.streaming(4, 90_000)
  },
  TEST_MS,
)
