// One measurement of both trees: `bun test/micro/measure.ts MS NAMES FIRST SECOND` prints
// [{"name": nanoseconds, ..}, {..}]. NAMES are those of the cases as JSON, [] for all.
//
// Both run in this process, slice by slice in turns: whatever slows the machine down slows both.
// What the compiler makes of them differs from process to process, so one measurement says little.
import { join } from 'node:path'
import { timePair, type Case } from './case.ts'
import type { Times } from './verdict.ts'

const [ms, names, ...roots] = Bun.argv.slice(2)
const wanted = JSON.parse(names ?? '[]') as readonly string[]
const [first = new Map(), second = new Map()] = await Promise.all(roots.map(casesOf))
const times: [Record<string, number>, Record<string, number>] = [{}, {}]
for (const [name, one] of first) {
  const other = second.get(name)
  if (other === undefined || (wanted.length > 0 && !wanted.includes(name))) continue
  const pair = timePair(one, other, Number(ms))
  times[0][name] = pair[0]
  times[1][name] = pair[1]
}
console.log(JSON.stringify(times satisfies [Times, Times]))
process.exit(0) // links and timers of the rigs would keep it

/** The cases of the tree at `root`, which may be another commit's. */
async function casesOf(root: string): Promise<Map<string, Case>> {
  const module = (await import(join(root, 'test/micro/cases.ts'))) as {
    allCases(): Promise<Case[]>
  }
  return new Map((await module.allCases()).map((one) => [one.name, one]))
}
