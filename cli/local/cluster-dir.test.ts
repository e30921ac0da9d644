import { afterAll, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { newMarker, readMarker, refuseForeignOwner, writeMarker } from './cluster-dir.ts'
import { tryLock } from './lock.ts'

const base = mkdtempSync(join(tmpdir(), 'mg-dir-'))
afterAll(() => rmSync(base, { recursive: true }))

test('a folder that is absent or empty has no marker', () => {
  mkdirSync(join(base, 'empty'))
  expect(readMarker(join(base, 'absent'))).toBeUndefined()
  expect(readMarker(join(base, 'empty'))).toBeUndefined()
})

test("a folder with somebody else's files is refused", () => {
  const dir = join(base, 'foreign')
  mkdirSync(dir)
  writeFileSync(join(dir, 'thesis.txt'), 'x')
  expect(() => readMarker(dir)).toThrow('not a cluster of multigres')
  expect(readdirSync(dir)).toEqual(['thesis.txt'])
})

test('a marker is found again, in a folder for its owner only', () => {
  const dir = join(base, 'deep', 'ours')
  const marker = newMarker({ poolers: '1' }, ['pooler.pool_size=4'])
  writeMarker(dir, marker)
  expect(readMarker(dir)).toEqual(marker)
  expect(statSync(dir).mode & 0o777).toBe(0o700)
})

test("another user's cluster is refused, whoever we are", () => {
  const dir = join(base, 'theirs')
  writeMarker(dir, newMarker({}, []))
  expect(() => refuseForeignOwner(dir)).not.toThrow()
  expect(() => refuseForeignOwner(dir, userInfo().uid + 1)).toThrow(`${dir} belongs to the user`)
})

test('a damaged marker, or one of a later version, is refused', () => {
  const dir = join(base, 'damaged')
  mkdirSync(dir)
  writeFileSync(join(dir, 'multigres.json'), '{"version":')
  expect(() => readMarker(dir)).toThrow('damaged')
  writeFileSync(join(dir, 'multigres.json'), '{"version":99,"clusterId":"x","flags":{}}')
  expect(() => readMarker(dir)).toThrow('format 99')
})

test('a lock has one holder, and the next one after it', () => {
  const path = join(base, 'lock')
  const first = tryLock(path)
  expect(first).toBeDefined()
  expect(tryLock(path)).toBeUndefined()
  first?.[Symbol.dispose]()
  using second = tryLock(path)
  expect(second).toBeDefined()
})
