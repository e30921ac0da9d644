import { expect, test } from 'bun:test'
import { nullLogger } from '../log/logger.ts'
import { connectTopology, parseEtcdSpec } from './topology.ts'

test('an etcd spec names hosts and, if it likes, a root', () => {
  expect(parseEtcdSpec('etcd://a:2379')).toEqual({ hosts: ['a:2379'], root: '/multigres/' })
  expect(parseEtcdSpec('etcd://a:1,10.0.0.1:2,[::1]:65535/x/y/')).toEqual({
    hosts: ['a:1', '10.0.0.1:2', '[::1]:65535'],
    root: '/x/y/',
  })
  expect(parseEtcdSpec('etcd://a:1/').root).toBe('/multigres/')
})

test('a malformed spec is invalid before anything is opened', async () => {
  const bad = ['', 'embedded:', 'etcd://', 'etcd://a', 'etcd://a:0', 'etcd://a:1,', 'zk://a:1']
  for (const spec of [...bad, 'etcd://a:65536', 'etcd://a b:1', 'etcd://u@a:1', '/a/path']) {
    const connecting = connectTopology(spec, { log: nullLogger })
    expect(await connecting.catch((error: { condition: string }) => error.condition)).toBe(
      'invalid',
    )
  }
})
