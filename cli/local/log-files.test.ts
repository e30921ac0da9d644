import { afterEach, beforeEach, expect, test } from 'bun:test'
import { appendFileSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { lastComplaint, rotateLog } from './log-files.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mg-logs-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

test('a full log is kept twice, and its writer is to open it anew', () => {
  const path = join(dir, 'a.log')
  for (const round of ['one', 'two', 'three', 'four']) {
    expect(rotateLog(path, 20)).toBe(true) // renamed, or not there
    appendFileSync(path, round.repeat(10))
  }
  appendFileSync(path, 'now')
  expect(readdirSync(dir).toSorted()).toEqual(['a.log', 'a.log.1', 'a.log.2'])
  expect(readFileSync(path, 'utf8')).toBe(`${'four'.repeat(10)}now`)
  expect(readFileSync(`${path}.1`, 'utf8')).toBe('three'.repeat(10))
  expect(readFileSync(`${path}.2`, 'utf8')).toBe('two'.repeat(10))
  expect(rotateLog(path, 1000)).toBe(false)
})

test('the last error of a log is its complaint, else its last line', () => {
  const path = join(dir, 'b.log')
  expect(lastComplaint(path)).toBeUndefined()
  writeFileSync(path, '{"level":"error","message":"cannot open","error":{"message":"no file"}}\n')
  appendFileSync(path, '{"level":"info","message":"stopped"}\n')
  expect(lastComplaint(path)).toBe('cannot open: no file')
  writeFileSync(path, '{"level":"info","message":"x"}\nplain text\n')
  expect(lastComplaint(path)).toBe('plain text')
})
