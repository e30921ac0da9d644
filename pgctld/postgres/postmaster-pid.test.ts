import { expect, test } from 'bun:test'
import { parsePostmasterPid } from './postmaster-pid.ts'

test('a running postmaster is read with its port, socket and status', () => {
  const text = '4711\n/data\n1763683200\n5433\n/run/pg\nlocalhost\n   1234567         5\nstandby \n'
  expect(parsePostmasterPid(text)).toEqual({
    pid: 4711,
    standalone: false,
    dataDir: '/data',
    startedAt: 1763683200,
    port: 5433,
    socketDir: '/run/pg',
    status: 'standby',
  })
})

test('a standalone backend is told by its negative number', () => {
  expect(parsePostmasterPid('-12\n/data\n1\n')).toMatchObject({ pid: 12, standalone: true })
})

test('an empty file and one that is no pid file name nobody', () => {
  expect(parsePostmasterPid('')).toBeUndefined()
  expect(parsePostmasterPid('hello\n')).toBeUndefined()
})
