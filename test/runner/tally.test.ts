import { describe, expect, test } from 'bun:test'
import { type Phase, planPhases, readRequest } from './plan.ts'
import { closingLine, NO_TESTS, sum, SummaryReader } from './tally.ts'

function read(lines: string[]): SummaryReader {
  const reader = new SummaryReader()
  for (const line of lines) reader.read(line)
  return reader
}

describe('the closing line', () => {
  const lines = [' 5 pass', ' 2 skip', ' 1 todo', ' 1 fail', ' 2 errors', ' 9 expect() calls']
  const ran = 'Ran 9 tests across 3 files. [2.07s]'

  test('errors are failures, todo is skipped', () => {
    const tally = read([...lines, ran]).tally(1, 3)
    expect(tally).toEqual({ passed: 5, failed: 3, skipped: 3, files: 3 })
    expect(closingLine(tally)).toBe('5 passed, 3 failed, 3 skipped')
  })

  test('a file that was given and not run is a failure', () => {
    expect(read([' 5 pass', ' 0 fail', ran]).tally(0, 5).failed).toBe(2)
  })

  test('an exit code that is not 0 is at least one failure, also without a summary', () => {
    expect(read([' 5 pass', ' 0 fail', ran]).tally(1, 3).failed).toBe(1)
    expect(read([]).tally(139, 0)).toEqual({ passed: 0, failed: 1, skipped: 0, files: 0 })
  })

  test('what passed everywhere has no word on skipping', () => {
    const all = sum({ ...NO_TESTS, passed: 2 }, { ...NO_TESTS, passed: 3 })
    expect(closingLine(all)).toBe('5 passed, 0 failed')
  })

  test('only summary lines are taken as such', () => {
    const reader = new SummaryReader()
    expect(reader.read('(pass) 3 pass')).toBe(false)
    expect(reader.read('    380 error')).toBe(false) // a test's own table
    expect(reader.read(' 3 pass')).toBe(true)
    expect(reader.read('Ran 1 test across 1 file. [2.00ms]')).toBe(true)
  })
})

describe('the plan', () => {
  const files = [
    'pooler/pool/pool.test.ts',
    'test/load/churn.test.ts',
    'test/load/bulk.long.ts',
    'test/fuzz/wire.test.ts',
  ]
  const phases = (argv: string[]): Phase[] => planPhases(files, readRequest(argv, 0.5), 2)
  const names = (argv: string[]): Record<string, readonly string[]> =>
    Object.fromEntries(phases(argv).map(({ name, files: run }) => [name, run]))

  test('unit files, process files and load run apart; long forms only when asked', () => {
    expect(names([])).toEqual({
      unit: ['pooler/pool/pool.test.ts'],
      processes: ['test/fuzz/wire.test.ts'],
      load: ['test/load/churn.test.ts'],
    })
    expect(Object.keys(names(['--long']))).toEqual(['unit', 'processes', 'load', 'long'])
  })

  test('a long form runs by itself, and no longer than was said', () => {
    const long = phases(['--only-long', '--limit', '2'])
    expect(long.map(({ name, files: run, limitMs }) => [name, run, limitMs])).toEqual([
      ['long', ['test/load/bulk.long.ts'], 120_000],
      ['long', ['test/fuzz/wire.test.ts'], 120_000],
    ])
    expect(() => readRequest(['--limit', 'soon'], 0)).toThrow('--limit needs a number of minutes')
  })

  test('filters are parts of paths, with or without the dashes', () => {
    expect(names(['pool/', 'churn'])).toEqual({
      unit: ['pooler/pool/pool.test.ts'],
      load: ['test/load/churn.test.ts'],
    })
    expect(names(['--', 'nothing'])).toEqual({})
  })

  test('the seed is fresh or given, and an unknown flag is refused', () => {
    expect(readRequest(['--seed', '7'], 0.5).seed).toBe(7)
    expect(readRequest([], 0.5).seed).toBe(1_073_741_823)
    expect(() => readRequest(['--sede', '7'], 0)).toThrow('unknown flag --sede')
    expect(() => readRequest(['--seed', 'x'], 0)).toThrow('--seed needs a whole number')
  })
})
