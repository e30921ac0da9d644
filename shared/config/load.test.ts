import { afterAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { commonFields } from './common-fields.ts'
import { ConfigError, HelpRequested, NotLiveError } from './errors.ts'
import * as f from './fields.ts'
import { loadConfig } from './load.ts'

const dir = mkdtempSync(join(tmpdir(), 'mg-config-'))
afterAll(() => rmSync(dir, { recursive: true }))

const fields = {
  poolSize: f.integer({ default: 16, min: 1, max: 100, live: true, help: 'Backends.' }),
  waitTimeoutMs: f.duration({ default: '5s', min: '1ms', live: true, help: 'Longest wait.' }),
  messageBytesMax: f.size({ default: '64MB', help: 'Longest message.' }),
  mode: f.oneOf({ values: ['fast', 'safe'], default: 'fast', help: 'How.' }),
  tls: f.boolean({ default: true, live: true, help: 'Encrypt.' }),
  watch: f.list({ default: '', help: 'What to watch.' }),
  password: f.string({ optional: true, secret: true, help: 'The password.' }),
  config: f.path({ optional: true, help: 'File.' }),
}

function load(argv: string[], env: Record<string, string> = {}) {
  return loadConfig({ service: 'pooler', fields, argv, env })
}

function file(name: string, text: string): string {
  const path = join(dir, name)
  writeFileSync(path, text)
  return path
}

function problemsOf(argv: string[], env: Record<string, string> = {}): readonly string[] {
  try {
    load(argv, env)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
  }
  return []
}

test('defaults fill what nobody gave, typed by their fields', () => {
  const { values } = load([])
  const poolSize: number = values.poolSize
  const mode: 'fast' | 'safe' = values.mode
  const password: string | undefined = values.password
  expect([poolSize, mode, password]).toEqual([16, 'fast', undefined])
  expect(values.messageBytesMax).toBe(64 * 2 ** 20)
  expect(values.watch).toEqual([])
})

test('a flag wins over the environment, that over the file, that over the default', () => {
  const path = file('precedence.yaml', 'pool_size: 3\nwait_timeout: 1s\nmode: safe\n')
  const env = { MULTIGRES_POOLER_POOL_SIZE: '4', MULTIGRES_POOLER_WAIT_TIMEOUT: '2s' }
  const store = load(['--config', path, '--pool-size', '5'], env)
  expect(store.values).toMatchObject({ poolSize: 5, waitTimeoutMs: 2000, mode: 'safe', tls: true })
  const view = store.view()
  expect(['pool_size', 'wait_timeout', 'mode', 'tls'].map((name) => view[name]?.source)).toEqual([
    'flag',
    'env',
    'file',
    'default',
  ])
})

test('flags take both spellings, booleans their negation, lists repetition', () => {
  const { values } = load(['--pool-size=7', '--no-tls', '--watch', 'a', '--watch=b,c'])
  expect(values).toMatchObject({ poolSize: 7, tls: false, watch: ['a', 'b', 'c'] })
  expect(load(['--tls']).values.tls).toBe(true)
  expect(load(['--tls=off']).values.tls).toBe(false)
})

test('--set and MULTIGRES_SET are flags by external name, and the last one wins', () => {
  const set = load(['--pool-size', '2', '--set', 'pool_size=3', '--set=mode=safe'])
  expect(set.values).toMatchObject({ poolSize: 3, mode: 'safe' })
  expect(set.view()['pool_size']).toEqual({ value: 3, source: 'set', live: true })
  const both = load(['--pool-size', '2'], { MULTIGRES_SET: 'pool_size=9\nwait_timeout=7s' })
  expect(both.values).toMatchObject({ poolSize: 9, waitTimeoutMs: 7000 })
  expect(problemsOf(['--set', 'pool_sise=1', '--set', 'nonsense'])).toEqual([
    '--set: there is no setting pool_sise; did you mean pool_size?',
    '--set: "nonsense" is not NAME=VALUE',
  ])
})

test('TOML is read by its ending', () => {
  const path = file('settings.toml', 'pool_size = 8\nwatch = ["a", "b"]\nwait_timeout = "3s"\n')
  expect(load(['--config', path]).values).toMatchObject({ poolSize: 8, watch: ['a', 'b'] })
})

test('every bad value is reported at once, each with where it stands', () => {
  const path = file('bad.yaml', 'message_bytes: 5\nmode: {a: 1}\nmessage_max: 9\n')
  const argv = [
    '--pool-size',
    '0',
    '--prot=1',
    'stray',
    '--mode',
    'slow',
    '--watch',
    '--config',
    path,
  ]
  const env = { MULTIGRES_POOLER_WAIT_TIMEOUT: '5', MULTIGRES_POOLER_TLS: 'maybe' }
  expect(problemsOf(argv, env).toSorted()).toEqual(
    [
      '--mode: "slow" is not one of fast, safe',
      '--pool-size: "0" is below the least, 1',
      '--watch needs a value',
      'MULTIGRES_POOLER_TLS: "maybe" is neither on nor off',
      'MULTIGRES_POOLER_WAIT_TIMEOUT: "5" is not a duration: a number with one of us, ms, s, min, h, d',
      'unexpected argument "stray"',
      'unknown flag --prot',
      `${path}: message_max: "9" is not a size: a number with one of B, kB, MB, GB, TB`,
      `${path}: mode takes one plain value`,
    ].toSorted(),
  )
})

test('a required field that nobody gave is a problem', () => {
  const required = { dataDir: f.path({ help: 'Data.' }) }
  const attempt = () => loadConfig({ service: 'pgctld', fields: required, argv: [], env: {} })
  expect(attempt).toThrow('data_dir is required: set --data-dir')
})

test('a file that is missing or does not parse is a problem', () => {
  expect(problemsOf(['--config', join(dir, 'none.yaml')]).join()).toContain('cannot read')
  expect(problemsOf(['--config', file('broken.yaml', 'a: [')]).join()).toContain('cannot read')
  expect(problemsOf(['--config', file('list.yaml', '- a\n')]).join()).toContain('not a list of')
})

test('unknown keys and variables warn and do not stop the start', () => {
  const path = file('unknown.yaml', 'pool_sizes: 3\nzzz: 1\n')
  expect(load(['--config', path], { MULTIGRES_POOLER_TSL: 'on' }).warnings).toEqual([
    `${path}: there is no setting pool_sizes; did you mean pool_size?`,
    `${path}: there is no setting zzz`,
    'environment: MULTIGRES_POOLER_TSL names no setting; did you mean MULTIGRES_POOLER_TLS?',
  ])
})

test('secrets appear in no view and no complaint', () => {
  const short = f.string({ secret: true, help: 'x', check: () => 'is too short' })
  const attempt = () =>
    loadConfig({ service: 'x', fields: { pass: short }, argv: ['--pass', 'hunter2'], env: {} })
  expect(attempt).toThrow('--pass: not a valid value')
  expect(JSON.stringify(load(['--password', 'hunter2']).view())).not.toContain('hunter2')
})

test('a reload takes live changes, names those that need a restart and keeps flags', () => {
  const path = file('reload.yaml', 'pool_size: 3\nmode: fast\nwait_timeout: 1s\n')
  const store = load(['--config', path, '--wait-timeout', '9s'])
  const values = store.values
  const heard: (readonly string[])[] = []
  using _ = store.onChange((names) => heard.push(names))
  file('reload.yaml', 'pool_size: 4\nmode: safe\nwait_timeout: 2s\n')
  expect(store.reload()).toMatchObject({ changed: ['pool_size'], needRestart: ['mode'] })
  expect(values).toMatchObject({ poolSize: 4, mode: 'fast', waitTimeoutMs: 9000 })
  expect(heard).toEqual([['pool_size']])
  file('reload.yaml', 'pool_size: 999\nwait_timeout: 3s\n')
  expect(store.reload().problems).toEqual([`${path}: pool_size: "999" is above the most, 100`])
  expect(values.poolSize).toBe(4)
})

test('set changes live fields, all or none, and survives a reload', () => {
  const store = load([])
  expect(store.set({ pool_size: '20', tls: 'off' })['pool_size']).toEqual({
    value: 20,
    source: 'set',
    live: true,
  })
  expect(store.values).toMatchObject({ poolSize: 20, tls: false })
  expect(() => store.set({ pool_size: '21', nope: '1', wait_timeout: 'x' })).toThrow(ConfigError)
  expect(() => store.set({ pool_size: '21', mode: 'safe' })).toThrow(NotLiveError)
  store.reload()
  expect(store.values.poolSize).toBe(20)
})

test('a value that was good and is no longer stays when another is set', () => {
  const broken = new Set<string>()
  const check = (path: string) => (broken.has(path) ? 'is broken' : undefined)
  const rules = f.path({ optional: true, live: true, check, help: 'A file that is checked.' })
  const level = f.integer({ default: 1, live: true, help: 'A number.' })
  const argv = ['--rules', 'rules.conf']
  const config = loadConfig({ service: 'gateway', fields: { rules, level }, argv, env: {} })
  broken.add('rules.conf').add('other.conf')
  config.set({ level: '2' })
  expect(config.values).toEqual({ rules: 'rules.conf', level: 2 })
  expect(() => config.set({ rules: 'other.conf' })).toThrow(ConfigError)
  expect(config.reload().problems).toEqual(['--rules: "rules.conf" is broken'])
  expect(config.values.rules).toBe('rules.conf')
})

test('help teaches every setting: flag, default, variable, live', () => {
  try {
    loadConfig({
      service: 'gateway',
      about: 'Accepts clients.',
      fields: { ...commonFields('gateway', { httpPort: 15100, grpcPort: 15170 }), ...fields },
      argv: ['--bogus', '--help'],
      env: {},
    })
    expect.unreachable()
  } catch (error) {
    const text = error instanceof HelpRequested ? error.text : ''
    expect(text).toContain('--wait-timeout DURATION')
    expect(text).toContain('[default 5s; env MULTIGRES_GATEWAY_WAIT_TIMEOUT; live]')
    expect(text).toContain('[default zone1_gateway1; env MULTIGRES_GATEWAY_ID]')
    expect(text).toContain('--tls, --no-tls')
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100)
  }
})

test('the id follows the cell and has one underscore', () => {
  const common = commonFields('orch', { httpPort: 1, grpcPort: 2 })
  const at = (argv: string[]) => loadConfig({ service: 'orch', fields: common, argv, env: {} })
  expect(at(['--cell', 'zone7']).values.id).toBe('zone7_orch1')
  expect(() => at(['--id', 'a_b_c'])).toThrow('"a_b_c" is not an id')
  expect(() => at(['--id', `z_${'x'.repeat(62)}`])).toThrow('is not an id')
})
