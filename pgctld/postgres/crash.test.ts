import { expect, test } from 'bun:test'
import { crashIn } from './crash.ts'

const line = (text: string): string => `2026-01-01 00:00:00.000 UTC [7] ${text}`

test('a backend that crashed, with what it ran in one line', () => {
  const log = [
    line('LOG:  database system is ready to accept connections'),
    line('LOG:  server process (PID 12) was terminated by signal 11: Segmentation fault'),
    line('DETAIL:  Failed process was running: SELECT crash()'),
    '\t  FROM t;',
    line('LOG:  terminating any other active server processes'),
    line('LOG:  archiver process (PID 13) was terminated by signal 9: Killed'),
  ]
  expect(crashIn(log.join('\n'))).toBe(
    'server process was terminated by signal 11: Segmentation fault ' +
      'while running: SELECT crash() FROM t;',
  )
})

test('a process that runs no query', () => {
  const log = line('LOG:  startup process (PID 12) was terminated by signal 6: Aborted')
  expect(crashIn(log)).toBe('startup process was terminated by signal 6: Aborted')
})

test('who was ended from outside, or ended well, crashed in no way', () => {
  expect(crashIn('')).toBeUndefined()
  expect(crashIn(line('LOG:  received fast shutdown request'))).toBeUndefined()
  expect(crashIn(line('FATAL:  the database system is shutting down'))).toBeUndefined()
})

test('a query without end is cut', () => {
  const log = [
    line('LOG:  server process (PID 12) was terminated by signal 9: Killed'),
    line(`DETAIL:  Failed process was running: ${'x'.repeat(5000)}`),
  ]
  expect(crashIn(log.join('\n'))?.length).toBeLessThan(1200)
})
