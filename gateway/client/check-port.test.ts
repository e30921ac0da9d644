import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { StartError } from '../../shared/lifecycle/start-error.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import type { GatewayRecord } from '../../shared/topology/records.ts'
import { checkPort } from './check-port.ts'

const LISTEN = '127.0.0.1'
const OURS: GatewayRecord = {
  id: 'zone1_gateway2',
  cell: 'zone1',
  host: LISTEN,
  http: '',
  grpc: '',
  port: 0,
  socket: '',
  pidPrefix: 1,
  cancel: '',
}

let holder: Bun.TCPSocketListener
beforeAll(() => {
  // A gateway of another cluster shares its ports as ours do.
  const options = { hostname: LISTEN, port: 0, reusePort: true, socket: { data() {} } }
  holder = Bun.listen(options as Bun.TCPSocketListenOptions<undefined>)
})
afterAll(() => holder.stop(true))

const check = (field: 'port' | 'replica_port', port: number | undefined, ours: object = {}) => {
  const source = {
    gateways: new Map([[OURS.id, { record: { ...OURS, ...ours }, live: true }]]),
    synced: true,
    onChange: () => ({ [Symbol.dispose]() {} }),
  }
  return checkPort({ id: 'zone1_gateway1', listen: LISTEN, port, field }, source, nullLogger)
}

describe.each([
  ['port', 'port'],
  ['replica_port', 'replicaPort'],
] as const)('%s', (field, inRecord) => {
  test('may be shared with a gateway of the same cluster', async () => {
    await check(field, holder.port, { [inRecord]: holder.port })
  })

  test('is not looked at when any will do, or none', async () => {
    await check(field, 0)
    await check(field, undefined)
  })
})

test('a port that somebody else has is refused, and so is one of another kind', async () => {
  const refusals = await Promise.all(
    [
      check('port', holder.port),
      check('replica_port', holder.port),
      check('replica_port', holder.port, { port: holder.port }),
    ].map((checking) => checking.catch((error: unknown) => error)),
  )
  for (const refusal of refusals) {
    expect(refusal).toBeInstanceOf(StartError)
    expect(String(refusal)).toContain(`${holder.port}`)
  }
}, 60_000)
