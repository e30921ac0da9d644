import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { revocation } from '../../shared/consensus/fixtures.ts'
import { PromiseFile } from './promise-file.ts'
import { encodeSlot, newestSlot, SLOT_BYTES } from './promise-slots.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'mg-promises-'))
})
afterEach(() => rm(dir, { recursive: true }))

describe('the promise file', () => {
  test('is absent before it is made', async () => {
    expect(await PromiseFile.open(dir)).toBeUndefined()
  })

  test('keeps incarnation, promise, floor and marker over a restart', async () => {
    const promise = revocation(2n ** 63n, '4.2')
    const over = { copyTimeline: 4, lsn: 2n ** 33n }
    const floor = { rule: { coordinatorTerm: 3n, leaderSubterm: 1n }, lsn: 2n ** 40n, over }
    const marker = { term: 5n, timeline: 6, lsn: 77n, postmaster: '12/3456' }
    const made = await PromiseFile.create(dir)
    const { incarnation } = made.state
    await made.update({ revocation: promise })
    await made.update({ recruitBlockedUntil: floor, promoting: marker, opened: 5n })
    await made[Symbol.asyncDispose]()
    await using again = await PromiseFile.open(dir)
    expect(again?.state).toEqual({
      incarnation,
      revocation: promise,
      recruitBlockedUntil: floor,
      promoting: marker,
      opened: 5n,
    })
  })

  test('forgets what was removed', async () => {
    await using file = await PromiseFile.create(dir)
    await file.update({ promoting: { term: 1n, timeline: 2, lsn: 1n, postmaster: '' } })
    await file.update({ promoting: undefined })
    await using again = await PromiseFile.open(dir)
    expect(again?.state.promoting).toBeUndefined()
  })

  test('never grows', async () => {
    await using file = await PromiseFile.create(dir)
    for (let term = 1n; term < 10n; term++)
      await file.update({ revocation: revocation(term, '0.1') })
    expect((await readFile(file.path)).length).toBe(2 * SLOT_BYTES)
  })

  test('updates asked for at once are all kept', async () => {
    await using file = await PromiseFile.create(dir)
    await Promise.all([
      file.update({ revocation: revocation(9n, '0.1') }),
      file.update({ promoting: { term: 9n, timeline: 10, lsn: 1n, postmaster: '' } }),
    ])
    await using again = await PromiseFile.open(dir)
    expect(again?.state.revocation.revokedBelowTerm).toBe(9n)
    expect(again?.state.promoting?.term).toBe(9n)
  })

  test('is refused, not replaced, when no slot is readable', async () => {
    const file = await PromiseFile.create(dir)
    await file[Symbol.asyncDispose]()
    await writeFile(file.path, Buffer.alloc(2 * SLOT_BYTES))
    const error = await PromiseFile.open(dir).catch((reason: unknown) => reason)
    expect(String(error)).toContain('no slot is readable')
  })
})

describe('a write torn at any byte', () => {
  const before = encodeSlot({ sequence: 4n, json: '{"promised":4}' })
  const current = encodeSlot({ sequence: 5n, json: '{"promised":5}' })
  const next = encodeSlot({ sequence: 6n, json: '{"promised":6}' })

  test('leaves the state before it, or is whole', () => {
    for (let bytes = 0; bytes <= SLOT_BYTES; bytes++) {
      const torn = Buffer.concat([next.subarray(0, bytes), before.subarray(bytes), current])
      const found = newestSlot(torn)
      const whole = torn.subarray(0, SLOT_BYTES).equals(next)
      expect(found?.json).toBe(whole ? '{"promised":6}' : '{"promised":5}')
    }
  })

  test('with zeros or noise behind the cut leaves the state before it', () => {
    for (const fill of [0, 0xff, 0x20]) {
      for (let bytes = 0; bytes < SLOT_BYTES - 1; bytes++) {
        const torn = Buffer.alloc(2 * SLOT_BYTES, fill)
        next.copy(torn, 0, 0, bytes)
        current.copy(torn, SLOT_BYTES)
        expect(newestSlot(torn)?.sequence).toBe(5n)
      }
    }
  })

  test('one flipped bit of the newest state is noticed', () => {
    for (let bit = 0; bit < 8 * 120; bit++) {
      const file = Buffer.concat([next, current])
      const at = bit >> 3
      file[at] = (file[at] ?? 0) ^ (1 << (bit & 7))
      const found = newestSlot(file)
      expect(found?.sequence === 5n || found?.json === '{"promised":6}').toBe(true)
    }
  })
})
