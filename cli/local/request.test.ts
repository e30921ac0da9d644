import { afterAll, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { UsageError } from '../errors.ts'
import { newMarker, writeMarker } from './cluster-dir.ts'
import { readRequest, refuseLastingChanges, refuseOtherFlags } from './request.ts'

const base = mkdtempSync(join(tmpdir(), 'mg-request-'))
afterAll(() => rmSync(base, { recursive: true }))

let made = 0
/** A folder that remembers `argv`'s flags, as a start with them would have left it. */
function folderOf(argv: readonly string[]): string {
  const dir = join(base, `dir${(made += 1)}`)
  const { flags, sets } = readRequest(['--dir', dir, ...argv])
  writeMarker(dir, newMarker(flags, sets))
  return dir
}

const problemsOf = (argv: readonly string[]): readonly string[] => {
  try {
    readRequest(['--dir', join(base, 'none'), ...argv])
    return []
  } catch (error) {
    return error instanceof UsageError ? error.problems : [String(error)]
  }
}

test('flags that are not given again keep their values', () => {
  const dir = folderOf(['--poolers', '5', '--port', '0', '--set', 'pooler.pool_size=4'])
  const { options, sets } = readRequest(['--dir', dir])
  expect(options).toMatchObject({ poolers: 5, port: 0, durability: 'at_least_2' })
  expect(sets).toEqual(['pooler.pool_size=4'])
})

test('how to start is not remembered', () => {
  const dir = folderOf(['--detach', '--json', '--start-timeout', '9s'])
  expect(readRequest(['--dir', dir]).options).toMatchObject({
    detach: false,
    json: false,
    startTimeoutMs: 60_000,
  })
})

test('a running cluster accepts its own flags, its defaults in words, and none', () => {
  const dir = folderOf(['--poolers', '1'])
  const running = newMarker({ poolers: '1' }, [])
  for (const argv of [['--poolers', '1'], ['--gateways', '1'], ['--start-timeout', '5s'], []]) {
    refuseOtherFlags(readRequest(['--dir', dir, ...argv]), running)
  }
})

test('a running cluster refuses other flags by name', () => {
  const dir = folderOf(['--poolers', '3'])
  const running = newMarker({ poolers: '3' }, [])
  const refuse = (argv: readonly string[]) => () =>
    refuseOtherFlags(readRequest(['--dir', dir, ...argv]), running)
  expect(refuse(['--gateways', '2'])).toThrow('--gateways 1 instead of 2')
  expect(refuse(['--pool-size=4', '--port=1'])).toThrow(/--port .*--pool-size/)
  expect(refuse(['--set', 'pooler.pool_size=4'])).toThrow('--set')
})

test('a folder with data keeps its members, one without may change them', () => {
  const dir = folderOf(['--poolers', '3'])
  refuseLastingChanges(readRequest(['--dir', dir, '--poolers', '5']))
  const data = join(dir, 'poolers', 'zone1_pooler1', 'pgdata')
  mkdirSync(data, { recursive: true })
  writeFileSync(join(data, 'PG_VERSION'), '18\n')
  const change = readRequest(['--dir', dir, '--poolers', '5'])
  expect(() => refuseLastingChanges(change)).toThrow('--poolers 3 instead of 5')
  refuseLastingChanges(readRequest(['--dir', dir, '--gateways', '2']))
})

test('flags that contradict each other are told at once', () => {
  expect(problemsOf(['--poolers=2', '--cells=3', '--durability=at_least_3'])).toHaveLength(2)
  expect(problemsOf(['--durability', 'multi_cell_at_least_2'])[0]).toContain('only 1 cells')
  expect(problemsOf(['--postgres', '/nowhere', '--tls', 'a.crt,b.key'])).toHaveLength(3)
})

test('unknown flags come with the nearest known one', () => {
  expect(problemsOf(['--pooler', '3'])[0]).toContain('did you mean --poolers?')
  expect(problemsOf(['--set'])[0]).toContain('--set needs SERVICE.KEY=VALUE')
})
