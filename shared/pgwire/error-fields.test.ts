import { expect, test } from 'bun:test'
import { str, wire } from '../../test/support/wire-bytes.ts'
import { PgError } from '../errors/pg-error.ts'
import {
  decodeErrorFields,
  errorFieldAt,
  errorResponse,
  fromPgError,
  noticeResponse,
  sqlstateOf,
} from './error-fields.ts'
import { MessageReader } from './message-reader.ts'
import { describeBackend } from './transcript.ts'

// As PostgreSQL 15 sends it, with a field type of the future in front of the code.
const division = wire(
  'E',
  str('SFEHLER'),
  str('VERROR'),
  str('?C99999'),
  str('C22012'),
  str('Mdivision by zero'),
  str('Fint.c'),
  str('L846'),
  str('Rint4div'),
  '\0',
)

function readerAt(bytes: Buffer): MessageReader {
  const reader = new MessageReader({ messageBytesMax: 1024 })
  reader.feed(bytes)
  reader.next()
  return reader
}

test('fields are read by name, unknown ones left out', () => {
  expect(decodeErrorFields(readerAt(division))).toEqual({
    severity: 'FEHLER',
    severityNonLocalized: 'ERROR',
    code: '22012',
    message: 'division by zero',
    file: 'int.c',
    line: '846',
    routine: 'int4div',
  })
})

test('the line in a transcript does not depend on the language', () => {
  expect(describeBackend(readerAt(division))).toBe('ErrorResponse ERROR 22012')
  const old = wire('N', str('SWARNING'), str('C01000'), '\0')
  expect(describeBackend(readerAt(old))).toBe('NoticeResponse WARNING 01000')
})

test('the SQLSTATE is found in place', () => {
  expect(sqlstateOf(division, 5)).toBe('22012')
  const before = Buffer.from('xyz')
  const placed = Buffer.concat([before, division, before])
  expect(sqlstateOf(placed, 8, 3 + division.length)).toBe('22012')
  expect(sqlstateOf(wire('E', str('SERROR'), '\0'), 5)).toBe('')
  expect(sqlstateOf(wire('E', str('SERROR')), 5)).toBe('')
  expect(sqlstateOf(wire('E', 'SERROR'), 5)).toBe('')
  expect(sqlstateOf(wire('E', 'C22'), 5)).toBe('')
  const at = errorFieldAt(division, { start: 5, end: division.length }, 'R')
  expect(division.toString('latin1', at, at + 8)).toBe('int4div\0')
})

test('a message without end is refused', () => {
  for (const body of ['', 'SERROR', 'SERROR\0']) {
    expect(() => decodeErrorFields(readerAt(wire('E', body)))).toThrow(
      expect.objectContaining({ sqlstate: '08P01' }),
    )
  }
})

test('fields are written in the order of Postgres', () => {
  const fields = { code: '01000', message: 'm', severity: 'NOTICE', hint: 'h', position: '3' }
  const body = [str('SNOTICE'), str('C01000'), str('Mm'), str('Hh'), str('P3'), '\0']
  expect(noticeResponse(fields)).toEqual(wire('N', ...body))
  expect(errorResponse(fields)).toEqual(wire('E', ...body))
})

test('an error of our own becomes an ErrorResponse', () => {
  const plain = new PgError('query_canceled', 'too late')
  const fields = [str('SERROR'), str('VERROR'), str('C57014'), str('Mtoo late')]
  expect(fromPgError(plain)).toEqual(wire('E', ...fields, str('Rmultigres'), '\0'))
  const full = new PgError('invalid_password', 'no', {
    severity: 'FATAL',
    detail: 'd',
    hint: 'h',
  })
  const more = [str('SFATAL'), str('VFATAL'), str('C28P01'), str('Mno'), str('Dd'), str('Hh')]
  expect(fromPgError(full)).toEqual(wire('E', ...more, str('Rmultigres'), '\0'))
})

test('a NUL in a text cannot break the message', () => {
  const fields = { severity: 'ERROR', code: '22021', message: 'bad \0byte' }
  const bytes = [str('SERROR'), str('C22021'), str('Mbad byte'), '\0']
  expect(errorResponse(fields)).toEqual(wire('E', ...bytes))
})
