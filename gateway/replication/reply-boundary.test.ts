import { expect, test } from 'bun:test'
import {
  commandComplete,
  copyData,
  parameterStatus,
  readyForQuery,
} from '../../shared/pgwire/backend.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { fromPgError } from '../../shared/pgwire/error-fields.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { ReplyBoundary } from './reply-boundary.ts'

const MESSAGES = [
  parameterStatus('application_name', 'mine'),
  copyData(Buffer.from('S\0\0\0\x0cS\0x\0')), // what looks like a message in data is none
  commandComplete('COPY 0'),
  parameterStatus('TimeZone', 'UTC'),
  readyForQuery(TransactionStatus.Idle),
  parameterStatus('search_path', 'x'.repeat(5000)), // longer than anybody looks at
]

test('boundaries and reported values are found wherever the bytes are cut', () => {
  const bytes = Buffer.concat(MESSAGES)
  const ends = new Set([0])
  let end = 0
  for (const message of MESSAGES) ends.add((end += message.length))
  const whole = 400 // cut everywhere up to here, and once behind it
  for (let first = 0; first <= whole; first++) {
    const told: string[] = []
    const boundary = new ReplyBoundary((name, value) => told.push(`${name}=${value}`))
    const cut = Math.min(first, bytes.length)
    boundary.feed(bytes, 0, cut)
    expect(boundary.onBoundary).toBe(ends.has(cut))
    boundary.feed(bytes, cut, bytes.length)
    expect(boundary.onBoundary).toBe(true)
    expect(told).toEqual(['application_name=mine', 'TimeZone=UTC'])
  }
})

test('an error that was the last word is known, whole or not', () => {
  const boundary = new ReplyBoundary(() => {})
  const error = fromPgError(new PgError('admin_shutdown', 'x', { severity: 'FATAL' }))
  boundary.feed(error, 0, error.length - 1)
  expect(boundary.saidError).toBe(false)
  boundary.feed(error, error.length - 1, error.length)
  expect(boundary.saidError).toBe(true)
  const ready = readyForQuery(TransactionStatus.Idle)
  boundary.feed(ready, 0, ready.length)
  expect(boundary.saidError).toBe(false)
})
