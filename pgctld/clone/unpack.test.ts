import { afterAll, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { pack } from 'tar-stream'
import type { RunAs } from '../postgres/run-as.ts'
import { Unpacker } from './unpack.ts'
import { failureOf } from '../../test/support/failure.ts'

const dirs: string[] = []
afterAll(() => dirs.forEach((dir) => rmSync(dir, { recursive: true })))

const { uid, gid, username } = userInfo()
const runAs: RunAs = { name: username, uid, gid, drop: false }
const CHUNK_BYTES = 65_536
const BIG = Buffer.alloc(300_000, 'x')

function newDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'mg-tar-'))
  dirs.push(dir)
  return dir
}

async function archive(...names: string[]): Promise<Buffer> {
  const tar = pack()
  tar.entry({ name: 'base/', type: 'directory' })
  for (const name of names) tar.entry({ name }, BIG)
  tar.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of tar as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function feed(unpacker: Unpacker, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    await unpacker.write(bytes.subarray(at, at + CHUNK_BYTES))
  }
}

test('files come out whole, closed to others, with size and SHA-256', async () => {
  const dir = newDirectory()
  const unpacker = new Unpacker(dir, runAs)
  await feed(unpacker, await archive('base/1', 'PG_VERSION'))
  await unpacker.end()
  const sha256 = new Bun.CryptoHasher('sha256').update(BIG).digest('hex')
  const digest = { sizeBytes: BIG.length, sha256 }
  expect([...unpacker.files]).toEqual([
    ['base/1', digest],
    ['PG_VERSION', digest],
  ])
  expect(readFileSync(join(dir, 'base/1')).equals(BIG)).toBe(true)
  expect(statSync(join(dir, 'base/1')).mode & 0o7777).toBe(0o600)
  expect(statSync(join(dir, 'base')).mode & 0o7777).toBe(0o700)
})

test('an archive may be left anywhere, and one that is cut within an entry is an error', async () => {
  const bytes = await archive('base/1', 'b')
  for (const cut of [0, 100, 512, 700, 1024, 1100, 100_000, 300_000, 302_000, 400_000]) {
    const left = new Unpacker(newDirectory(), runAs)
    await feed(left, bytes.subarray(0, cut))
    await left.abandon()
  }
  for (const cut of [100, 700, 1024, 1100, 100_000, 300_000, 400_000]) {
    const ended = new Unpacker(newDirectory(), runAs)
    await feed(ended, bytes.subarray(0, cut))
    expect(await failureOf(ended.end())).toBeInstanceOf(Error)
  }
})

test('a name that leads out of the directory is refused', async () => {
  for (const name of ['../out', '/etc/out', 'base/../../out']) {
    const dir = newDirectory()
    const unpacker = new Unpacker(join(dir), runAs)
    const work = feed(unpacker, await archive(name)).then(() => unpacker.end())
    expect(await failureOf(work)).toMatchObject({ condition: 'data_corrupted' })
    expect(existsSync(join(dir, '..', 'out'))).toBe(false)
    await unpacker.abandon()
  }
})
