// One measurement of one tree: `bun test/micro/measure.ts [MS]` prints {"name": nanoseconds, ...}.
import { timeCase } from './case.ts'
import { allCases } from './cases.ts'

const ms = Number(Bun.argv[2] ?? 250)
const times: Record<string, number> = {}
for (const one of await allCases()) times[one.name] = timeCase(one, ms)
console.log(JSON.stringify(times))
process.exit(0) // links and timers of the rigs would keep it
