import { expect, test } from 'bun:test'
import { firstComplaint } from './complaint.ts'

test('the first error, with what explains it', () => {
  const said = [
    '2026-01-01 00:00:00.000 UTC [7] LOG:  starting',
    '2026-01-01 00:00:00.000 UTC [7] FATAL:  no',
    '2026-01-01 00:00:00.000 UTC [7] HINT:  Try yes.',
    '2026-01-01 00:00:00.000 UTC [7] LOG:  shut down',
  ]
  expect(firstComplaint(said.join('\n'))).toBe('FATAL:  no; HINT:  Try yes.')
  expect(firstComplaint('LOG:  all is well')).toBeUndefined()
})

test('what is wrong in a configuration is said as LOG before the error', () => {
  const said = [
    'LOG:  invalid value for parameter "work_mem": "banana"',
    'FATAL:  configuration file "/x/multigres.conf" contains errors',
  ]
  expect(firstComplaint(said.join('\n'))).toBe(
    'invalid value for parameter "work_mem": "banana"; ' +
      'FATAL:  configuration file "/x/multigres.conf" contains errors',
  )
})
