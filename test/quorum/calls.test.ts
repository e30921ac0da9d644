// Goal: calls on a configuration over real streams: thresholds, order, aborts, reconnects.
// Method: servers in this process on loopback, stopped and started again where it matters.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Code } from '../../shared/errors/grpc-code.ts'
import { mapRequest, mapResponse, type Interceptor } from '../../shared/quorum/call-context.ts'
import type { Configuration } from '../../shared/quorum/configuration.ts'
import {
  QuorumCallError,
  ResponsesConsumedError,
  StaleEpochError,
} from '../../shared/quorum/errors.ts'
import { grpcTransport } from '../../shared/quorum/grpc-transport.ts'
import type { Method } from '../../shared/quorum/method.ts'
import { multicast } from '../../shared/quorum/multicast.ts'
import type { PeerNode } from '../../shared/quorum/node.ts'
import { NodePool } from '../../shared/quorum/node-pool.ts'
import { byId, byLastError, byLatency, byPort, type NodeOrder } from '../../shared/quorum/order.ts'
import { QuorumCall } from '../../shared/quorum/quorum-call.ts'
import { RpcError } from '../../shared/rpc/status.ts'
import { failureOf } from '../support/failure.ts'
import { until } from '../support/until.ts'
import {
  COUNT,
  ECHO,
  FAIL,
  HANG,
  NOTE,
  startNode,
  TOKEN,
  UNSERVED,
  type GrpcNode,
} from './nodes.ts'

const transport = grpcTransport({ token: TOKEN, caller: 'test' })
let nodes: GrpcNode[]
let pool: NodePool
let three: Configuration

beforeAll(async () => {
  nodes = await Promise.all(['a', 'b', 'c'].map((id) => startNode(id)))
  pool = new NodePool({ transport })
  three = pool.configuration(nodes)
})
afterAll(async () => {
  pool[Symbol.dispose]()
  await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()))
})

const echo = (text: string, on = three): QuorumCall<string, string> =>
  new QuorumCall(on, ECHO, text)

/** Three nodes, of which the last `down` do not answer. */
async function withDown(
  down: number,
  body: (configuration: Configuration, pool: NodePool) => Promise<void>,
): Promise<void> {
  const started = await Promise.all(['a', 'b', 'c'].map((id) => startNode(id)))
  using own = new NodePool({ transport })
  for (const node of started.slice(3 - down)) await node[Symbol.asyncDispose]()
  try {
    await body(own.configuration(started), own)
    expect(own.pending).toBe(0)
  } finally {
    for (const node of started.slice(0, 3 - down)) await node[Symbol.asyncDispose]()
  }
}

describe('what counts as enough', () => {
  test('every node answers once, and all answers can be read', async () => {
    const said = new Map<string, string>()
    for await (const response of echo('x')) {
      if (response.kind === 'value') said.set(response.nodeId, response.value)
    }
    expect(said).toEqual(new Map([...three.ids].map((id) => [id, `${id}:x`])))
  })

  test('a majority tolerates one node of three, the first answer two, all none', async () => {
    await withDown(1, async (configuration) => {
      expect(await echo('x', configuration).majority()).toMatch(/^[ab]:x$/)
      const failure = await failureOf(echo('x', configuration).all())
      expect(failure).toBeInstanceOf(QuorumCallError)
      const { code, nodeErrors } = failure as QuorumCallError
      expect({ code, failed: [...nodeErrors.keys()] }).toEqual({
        code: 'INCOMPLETE',
        failed: ['c'],
      })
    })
    await withDown(2, async (configuration) => {
      expect(await echo('x', configuration).first()).toBe('a:x')
      expect(await failureOf(echo('x', configuration).majority())).toBeInstanceOf(QuorumCallError)
    })
  })

  test('a majority of four is three', () => {
    const sizes = [1, 2, 3, 4, 5, 6, 7].map((n) => {
      const addresses = Array.from({ length: n }, (_, at) => ({ id: `${at}`, address: `x:${at}` }))
      using own = new NodePool({ transport })
      return own.configuration(addresses).majority
    })
    expect(sizes).toEqual([1, 2, 2, 3, 3, 4, 4])
  })

  test('it fails as soon as enough is impossible, though a node still hangs', async () => {
    const mixed = new QuorumCall<string, string>(three, HANG, 'x', { timeoutMs: 60_000 })
    using own = new NodePool({ transport })
    const dead = own.configuration([nodes[0] as GrpcNode, DEAD])
    const call = new QuorumCall<string, string>(dead, HANG, 'x')
    expect(await failureOf(call.all())).toBeInstanceOf(QuorumCallError)
    expect(own.pending).toBe(0)
    const iterator = mixed.start()[Symbol.asyncIterator]()
    await iterator.return?.()
    expect(pool.pending).toBe(0)
  })

  test('a threshold outside of the nodes is a mistake of the caller', async () => {
    for (const count of [0, 4, 1.5]) {
      expect(await failureOf(echo('x').threshold(count))).toBeInstanceOf(RangeError)
    }
    expect(() => pool.configuration([])).toThrow(TypeError)
  })

  test('a decision of the caller is asked for after each answer', async () => {
    const sizes: number[] = []
    const decision = await echo('x').decide((soFar) => {
      sizes.push(soFar.size)
      return soFar.size === 2 ? [...soFar.keys()].toSorted() : undefined
    })
    expect(sizes).toEqual([1, 2])
    expect(decision).toHaveLength(2)
    expect(await failureOf(echo('x').decide(() => undefined))).toBeInstanceOf(QuorumCallError)
  })

  test('errors are items, and collected as such', async () => {
    const said = await new QuorumCall<string, string>(three, FAIL, 'x').collect()
    const kinds = [...said.values()].map((response) => response.kind)
    expect(kinds).toEqual(['error', 'error', 'error'])
    expect((await echo('x').collect(2)).size).toBe(2)
  })

  test('a method that nobody serves fails at every node', async () => {
    const failure = await failureOf(new QuorumCall(three, UNSERVED, 'x').first())
    const codes = [...(failure as QuorumCallError).nodeErrors.values()]
    expect(codes.map((error) => (error as RpcError).code)).toEqual([12, 12, 12])
  })
})

const DEAD = { id: 'dead', address: '127.0.0.1:1' }

describe('when it is sent', () => {
  test('nothing is sent before its answers are asked for, and then once', async () => {
    await withDown(0, async (configuration, own) => {
      const call = echo('lazy', configuration)
      expect(own.pending).toBe(0)
      call.start()
      call.start()
      expect(own.pending).toBe(3)
      await call.all()
    })
  })

  test('its answers can be read once', async () => {
    const call = echo('x')
    await call.all()
    expect(await failureOf(call.all())).toBeInstanceOf(ResponsesConsumedError)
    const through = echo('y').ignoreErrors()
    await through.all()
    expect(await failureOf(through.first())).toBeInstanceOf(ResponsesConsumedError)
  })

  test('every node gets calls in the order in which they were started', async () => {
    for (const { seen } of nodes) seen.begun.length = 0
    const asked: string[] = []
    const answers: Promise<unknown>[] = []
    const [one] = three.nodes as [PeerNode, ...PeerNode[]]
    for (let at = 0; at < 100; at++) {
      asked.push(`${at}`)
      if (at % 3 === 0) answers.push(one.call<string, string>(ECHO, `${at}`))
      else answers.push(echo(`${at}`).start().all())
    }
    await Promise.all(answers)
    expect(nodes[0]?.seen.begun).toEqual(asked)
    expect(nodes[1]?.seen.begun).toEqual(asked.filter((_, at) => at % 3 !== 0))
    expect(nodes.map(({ seen }) => seen.atOnce)).toEqual([1, 1, 1])
  })

  test('one that hangs holds up the next of its client, until it is given up', async () => {
    const hung = new QuorumCall<string, string>(three, HANG, 'x').start()
    const behind = echo('behind').start()
    await multicast(three, NOTE, 'behind, too')
    expect(nodes.some(({ seen }) => seen.begun.includes('behind'))).toBe(false)
    await hung[Symbol.asyncIterator]().return?.()
    expect(await behind.all()).toMatch(/behind/)
  })
})

describe('giving up', () => {
  test('an abort rejects with its reason as cause, and leaves nothing pending', async () => {
    using own = new NodePool({ transport })
    const configuration = own.configuration(nodes)
    const abort = new AbortController()
    const call = new QuorumCall<string, string>(configuration, HANG, 'x', { signal: abort.signal })
    const failure = failureOf(call.all())
    const reason = new Error('enough')
    abort.abort(reason)
    const error = (await failure) as QuorumCallError
    expect([error.code, error.cause]).toEqual(['ABORTED', reason])
    expect(own.pending).toBe(0)
  })

  test('a node that is late fails, others count', async () => {
    using own = new NodePool({ transport })
    const hang = new QuorumCall<string, string>(own.configuration(nodes), HANG, 'x', {
      timeoutMs: 50,
    })
    const error = (await failureOf(hang.first())) as QuorumCallError
    const codes = [...error.nodeErrors.values()].map((one) => (one as RpcError).code)
    expect(codes).toEqual([Code.DEADLINE_EXCEEDED, Code.DEADLINE_EXCEEDED, Code.DEADLINE_EXCEEDED])
    expect(own.pending).toBe(0)
  })

  test('a call on one node ends with its answer, its time, or its abort', async () => {
    using own = new NodePool({ transport })
    const [node] = own.configuration(nodes).nodes
    if (node === undefined) throw new Error('no node')
    expect(await node.call<string, string>(ECHO, 'x')).toBe('a:x')
    expect(node.latencyMs).toBeGreaterThan(0)
    const late = await failureOf(node.call<string, string>(HANG, 'x', { timeoutMs: 20 }))
    expect((late as RpcError).code).toBe(Code.DEADLINE_EXCEEDED)
    expect(node.pending).toBe(0)
  })
})

describe('one-way messages', () => {
  test('it has left for every node, or says for which it has not', async () => {
    await multicast(three, NOTE, 'a hint')
    await until(() => nodes.every(({ seen }) => seen.begun.includes('a hint')))
    await withDown(1, async (configuration) => {
      const error = (await failureOf(multicast(configuration, NOTE, 'x'))) as QuorumCallError
      expect([error.code, [...error.nodeErrors.keys()]]).toEqual(['SEND_FAILURE', ['c']])
      await multicast(configuration, NOTE, 'x', { wait: 'none' })
    })
  })

  test('a thousand leave nothing pending', async () => {
    for (let at = 0; at < 1000; at++) void multicast(three, NOTE, `${at}`, { wait: 'none' })
    await echo('after').all()
    expect(pool.pending).toBe(0)
  })
})

describe('per node, and in between', () => {
  test('a node without a request is skipped, and counts neither way', async () => {
    const call = (): QuorumCall<string, string> =>
      echo('x').perNode((text, { id }) => (id === 'b' ? undefined : `${text}-${id}`))
    const said = await call().collect()
    expect(said.get('b')).toEqual({ nodeId: 'b', kind: 'skipped' })
    expect(said.get('c')).toEqual({ nodeId: 'c', kind: 'value', value: 'c:x-c' })
    expect(call().size).toBe(2)
    expect(await call().all()).toMatch(/x-[ac]$/)
  })

  test('interceptors stand in the order given, the first one nearest to the nodes', async () => {
    const tag =
      (mark: string): Interceptor<string, string> =>
      (context, responses) =>
        mapResponse<string, string>((value) => `${value}${mark}`)(context, responses)
    const interceptors = [
      mapRequest<string, string>((request) => `${request}1`),
      mapRequest<string, string>((request) => `${request}2`),
      tag('<'),
      tag('>'),
    ]
    const call = new QuorumCall<string, string>(three, ECHO, 'x', { interceptors })
    expect(await call.first()).toMatch(/^[abc]:x12<>$/)
    expect(() => call.map((value) => value)).toThrow(TypeError)
  })
})

describe('answers that get better', () => {
  test('the level counts distinct nodes, and a watch always settles', async () => {
    const subscription = COUNT as Method<'stream', string, string>
    const calls = new QuorumCall<string, string>(three, subscription, '3')
    const correctable = calls.correctable(3)
    const watches = [1, 2, 3, 4].map((level) => correctable.watch(level))
    expect((await Promise.all(watches)).map((progress) => progress?.level)).toEqual([1, 2, 3, 3])
    expect((await correctable.watch(9))?.level).toBe(3)
    expect(await correctable.result()).toMatch(/^[abc]:\d$/)
    await withDown(1, async (configuration) => {
      const short = echo('x', configuration).correctable(3)
      expect((await short.watch(3))?.level).toBe(2)
      expect(await failureOf(short.result())).toBeInstanceOf(QuorumCallError)
    })
  })

  test('one talkative node is no quorum', async () => {
    await withDown(2, async (configuration) => {
      const subscription = COUNT as Method<'stream', string, string>
      const call = new QuorumCall<string, string>(configuration, subscription, '5')
      expect(await failureOf(call.majority())).toBeInstanceOf(QuorumCallError)
    })
  })
})

describe('nodes that come and go', () => {
  test('a node that comes back is reached again, in order', async () => {
    const node = await startNode('d')
    using own = new NodePool({ transport })
    const configuration = own.configuration([node])
    expect(await echo('1', configuration).all()).toBe('d:1')
    await node[Symbol.asyncDispose]()
    expect(await failureOf(echo('2', configuration).all())).toBeInstanceOf(QuorumCallError)
    expect(configuration.nodes[0]?.lastError).toBeInstanceOf(RpcError)
    await using again = await startNode('d', { address: node.address })
    await until(async () => (await echo('3', configuration).collect()).get('d')?.kind === 'value')
    expect(again.callers.at(-1)).toBe('test')
    expect(own.pending).toBe(0)
  })

  test('a node of a newer configuration refuses, and says which', async () => {
    await using node = await startNode('e', { epoch: () => 7n })
    using own = new NodePool({ transport })
    const configuration = own.configuration([node])
    const call = new QuorumCall<string, string>(configuration, ECHO, 'x', { epoch: 6n })
    const error = (await failureOf(call.all())) as QuorumCallError
    const [stale] = [...error.nodeErrors.values()]
    expect(stale).toBeInstanceOf(StaleEpochError)
    expect((stale as StaleEpochError).epoch).toBe(7n)
    const current = new QuorumCall<string, string>(configuration, ECHO, 'x', { epoch: 7n })
    expect(await current.all()).toBe('e:x')
  })

  test('without the token nobody is served', async () => {
    const stranger = grpcTransport({ token: 'another', caller: 'stranger' })
    using own = new NodePool({ transport: stranger })
    const call: Promise<string> = echo('x', own.configuration(nodes)).first()
    const error = (await failureOf(call)) as QuorumCallError
    const codes = [...error.nodeErrors.values()].map((one) => (one as RpcError).code)
    expect(codes).toEqual([Code.UNAUTHENTICATED, Code.UNAUTHENTICATED, Code.UNAUTHENTICATED])
  })
})

describe('configurations', () => {
  const at = (id: string): { id: string; address: string } => ({
    id,
    address: `${id}:${id.length}`,
  })

  test('they are sets by id, and are never changed', () => {
    using own = new NodePool({ transport })
    const ab = own.configuration([at('b'), at('a')])
    const bc = own.configuration([at('b'), at('c')])
    expect(ab.ids).toEqual(['a', 'b'])
    expect(ab.union(bc).ids).toEqual(['a', 'b', 'c'])
    expect(ab.union(bc).equals(bc.union(ab))).toBe(true)
    expect(ab.difference(bc).ids).toEqual(['a'])
    expect(ab.without('a').ids).toEqual(['b'])
    expect(ab.with(...bc.nodes).size).toBe(3)
    expect(ab.ids).toEqual(['a', 'b'])
    expect(own.configurationOf(['c']).ids).toEqual(['c'])
    expect(() => ab.without('a', 'b')).toThrow(TypeError)
    expect(() => own.configurationOf(['z'])).toThrow('"z"')
  })

  test('an id or an address stands once; a node that moved is another', () => {
    using own = new NodePool({ transport })
    expect(() => own.configuration([at('a'), at('a')])).toThrow('twice')
    expect(() => own.configuration([at('a'), { id: 'b', address: 'a:1' }])).toThrow('a:1')
    const before = own.configuration([at('a')])
    const after = own.configuration([{ id: 'a', address: 'elsewhere:1' }])
    expect(after.nodes[0]).not.toBe(before.nodes[0])
    expect(own.ids).toEqual(['a'])
  })

  test('those that failed can be left out, by what they failed with', () => {
    using own = new NodePool({ transport })
    const configuration = own.configuration([at('a'), at('b'), at('c')])
    const nodeErrors = new Map<string, Error>([
      ['a', new RpcError(Code.UNAVAILABLE, 'away')],
      ['b', new RpcError(Code.FAILED_PRECONDITION, 'refused')],
    ])
    const error = new QuorumCallError('INCOMPLETE', 'x', { nodeErrors, received: 1, required: 2 })
    expect(configuration.withoutErrors(error).ids).toEqual(['c'])
    const away = (one: Error): boolean => (one as RpcError).code === Code.UNAVAILABLE
    expect(configuration.withoutErrors(error, away).ids).toEqual(['b', 'c'])
  })

  test('orders use every key, the last one too', async () => {
    using own = new NodePool({ transport })
    const [first] = nodes
    const configuration = own.configuration([
      { ...(first as GrpcNode), id: 'z' },
      { id: 'y', address: '127.0.0.1:2' },
      { id: 'x', address: '127.0.0.1:1' },
    ])
    await new QuorumCall<string, string>(configuration, ECHO, 'x').collect()
    const ids = (...orders: NodeOrder[]): string[] =>
      configuration.sorted(...orders).map(({ id }) => id)
    expect(ids(byLastError, byPort)).toEqual(['z', 'x', 'y'])
    expect(ids(byLatency, byId)).toEqual(['z', 'x', 'y'])
    expect(ids(byLastError, (a, b) => -byId(a, b))).toEqual(['z', 'y', 'x'])
  })
})
