import { expect, test } from 'bun:test'
import { lastComplaint } from './log-file.ts'

test("Postgres's last words are its last FATAL or PANIC, with what explains it", () => {
  const log = [
    '2026-11-20 10:00:00.000 UTC [7] LOG:  starting PostgreSQL',
    '2026-11-20 10:00:00.100 UTC [9] FATAL:  hot standby is not possible because x = 1',
    '2026-11-20 10:00:00.100 UTC [9] DETAIL:  it was 100 on the primary',
    '2026-11-20 10:00:00.200 UTC [7] LOG:  database system is shut down',
  ].join('\n')
  expect(lastComplaint(log)).toBe(
    'FATAL:  hot standby is not possible because x = 1; DETAIL:  it was 100 on the primary',
  )
})

test('sessions that were turned away are not why a postmaster ended', () => {
  const log = [
    '[1] FATAL:  the database system is starting up',
    '[2] FATAL:  terminating connection due to administrator command',
    '[3] FATAL:  sorry, too many clients already',
  ].join('\n')
  expect(lastComplaint(log)).toBeUndefined()
})

test('what led to it is told as well', () => {
  const log = [
    '[1] LOG:  starting PostgreSQL',
    '[1] LOG:  invalid value for parameter "max_connections": "lots"',
    '[1] FATAL:  configuration file "/data/multigres.conf" contains errors',
  ].join('\n')
  expect(lastComplaint(log)).toBe(
    'LOG:  invalid value for parameter "max_connections": "lots"; ' +
      'FATAL:  configuration file "/data/multigres.conf" contains errors',
  )
})
