import { afterEach, beforeEach, expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { readdirSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { newMarker, writeMarker } from './cluster-dir.ts'
import { removeCluster } from './remove.ts'

const isRoot = userInfo().uid === 0 // mounts need it

let base: string
beforeEach(() => (base = mkdtempSync(join(tmpdir(), 'mg-remove-'))))
afterEach(() => rmSync(base, { recursive: true, force: true }))

function makeCluster(dir: string): void {
  writeMarker(dir, newMarker({}, []))
  mkdirSync(join(dir, 'poolers', 'a'), { recursive: true })
  writeFileSync(join(dir, 'poolers', 'a', 'data'), 'x')
}

test('a link goes with all that it leads to', () => {
  const real = join(base, 'real')
  const link = join(base, 'link')
  makeCluster(real)
  symlinkSync(real, link)
  removeCluster(link)
  expect(readdirSync(base)).toEqual([])
})

test.skipIf(!isRoot)('a mount point stays, empty', () => {
  const dir = join(base, 'volume')
  mkdirSync(dir)
  const mounted = Bun.spawnSync(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', dir])
  if (mounted.exitCode !== 0) return
  try {
    makeCluster(dir)
    removeCluster(dir)
    expect(readdirSync(dir)).toEqual([])
  } finally {
    Bun.spawnSync(['umount', dir])
  }
  expect(existsSync(dir)).toBe(true)
})

test.skipIf(!isRoot)('a removal that fails half way is still of a cluster of ours', () => {
  const dir = join(base, 'c')
  makeCluster(dir)
  const stuck = join(dir, 'zzz')
  mkdirSync(stuck)
  const mounted = Bun.spawnSync(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', stuck])
  if (mounted.exitCode !== 0) return
  try {
    expect(() => removeCluster(dir)).toThrow(`cannot remove ${dir}`)
    expect(existsSync(join(dir, 'multigres.json'))).toBe(true)
  } finally {
    Bun.spawnSync(['umount', stuck])
  }
  removeCluster(dir)
  expect(existsSync(dir)).toBe(false)
})
