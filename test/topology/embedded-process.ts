// A process of its own on an embedded topology, for embedded.test.ts. It says on stdout how far it is.
//   count PATH TIMES          adds TIMES to the key `counter` by compare-and-set
//   hold PATH TTL_MS KEY      keeps KEY under a lease until killed; says `held`, and `lost` if so
import { connect } from './stores.ts'

const [task, path = '', number = '', key = ''] = Bun.argv.slice(2)
const topology = await connect(`embedded:${path}`)

if (task === 'count') {
  for (let left = Number(number); left > 0;) {
    const entry = await topology.get('counter')
    const value = String(Number(entry?.value ?? 0) + 1)
    const revision = entry?.revision ?? 0n
    await topology.put('counter', value, { revision }).then(
      () => left--,
      (error: { condition?: string }) => {
        if (error.condition !== 'conflict') throw error
      },
    )
  }
  await topology[Symbol.asyncDispose]()
} else {
  const lease = await topology.grantLease(Number(number))
  lease.lost.addEventListener('abort', () => console.log('lost'))
  await topology.create(key, String(process.pid), { lease })
  console.log('held')
  setInterval(() => {}, 1000) // until killed
}
