import { expect, test } from 'bun:test'
import { PgError } from '../errors/pg-error.ts'
import { FakeTime } from '../time/fake-time.ts'
import { createLogger, type LogLevel } from './logger.ts'
import { StderrSink } from './stderr-sink.ts'

function capture(level: LogLevel) {
  const lines: Record<string, unknown>[] = []
  const sink = {
    write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>),
    flush: () => {},
  }
  return { lines, log: createLogger({ service: 'pooler', id: 'zone1_pooler1', level, sink }) }
}

test('a line says when, how bad, who and what', () => {
  const { lines, log } = capture('info')
  log.info('serving', { port: 5432, term: 7n })
  expect(lines[0]).toMatchObject({
    level: 'info',
    service: 'pooler',
    id: 'zone1_pooler1',
    message: 'serving',
    port: 5432,
    term: '7',
  })
  expect(Date.parse(String(lines[0]?.['time']))).toBeGreaterThan(0)
})

test('children add fields and follow a change of the level', () => {
  const { lines, log } = capture('warn')
  const child = log.child({ session: 9 })
  child.info('unseen')
  log.setLevel('debug')
  child.debug('seen')
  expect(lines).toHaveLength(1)
  expect(lines[0]).toMatchObject({ session: 9, message: 'seen' })
})

test('an error is written with its stack, SQLSTATE and cause', () => {
  const { lines, log } = capture('info')
  log.error('failed', {
    error: new PgError('disk_full', 'no room', { cause: new Error('ENOSPC') }),
  })
  expect(lines[0]?.['error']).toMatchObject({
    name: 'PgError',
    message: 'no room',
    sqlstate: '53100',
    stack: expect.stringContaining('logger.test.ts'),
    cause: { message: 'ENOSPC' },
  })
})

test('what is named like a secret is not written', () => {
  const { lines, log } = capture('info')
  log.info('connecting', { password: 'hunter2', options: { token: 'hunter2' } })
  expect(JSON.stringify(lines)).not.toContain('hunter2')
})

test('what a full pipe does not take is held, then written in order', () => {
  using time = FakeTime.install()
  let room = 3
  let out = ''
  const sink = new StderrSink((bytes) => {
    if (room === 0) throw Object.assign(new Error('full'), { code: 'EAGAIN' })
    const count = Math.min(room, bytes.length)
    out += bytes.toString('utf8', 0, count)
    room -= count
    return count
  })
  sink.write('one\n')
  sink.write('two\n')
  expect(out).toBe('one')
  room = 100
  time.advance(1000)
  expect(out).toBe('one\ntwo\n')
})

test('beyond its limit the sink drops lines and says how many', () => {
  using time = FakeTime.install()
  let full = true
  let out = ''
  const sink = new StderrSink((bytes) => {
    if (full) throw Object.assign(new Error('full'), { code: 'EAGAIN' })
    out += bytes.toString()
    return bytes.length
  })
  const line = `${'x'.repeat(2 ** 20 - 1)}\n`
  for (let count = 0; count < 6; count += 1) sink.write(line)
  full = false
  time.advance(1000)
  expect(out.slice(line.length * 4)).toContain('2 log lines dropped')
})

test('a reader that went away does no harm', () => {
  const sink = new StderrSink(() => {
    throw Object.assign(new Error('gone'), { code: 'EPIPE' })
  })
  expect(() => sink.write('x\n')).not.toThrow()
})
