// Goal: frames that wait come out as they came in, whatever their number and size.
import { expect, test } from 'bun:test'
import { Flag, Op, OP_BYTES, OPS_HEAD_BYTES } from '../../shared/link/frame.ts'
import { parse } from '../../shared/pgwire/frontend.ts'
import { Definition } from '../backend/definition.ts'
import { HeldFrames } from './held-frames.ts'

const LINK = {
  definitions: new Map<number, Definition>(),
  limits: { preparedMax: 1, preparedBytesMax: 1, messageBytesMax: 1 },
}

type Kept = { flags: number; mask: number; text: string }

function contents(held: HeldFrames): Kept[] {
  return Array.from({ length: held.count }, (_, at) => ({
    flags: held.flagsOf(at),
    mask: held.maskOf(at),
    text: held.bytes.toString('latin1', held.startOf(at), held.endOf(at)),
  }))
}

test('small and large frames keep their order and their bytes', () => {
  const held = new HeldFrames(LINK)
  const sizes = [3, 0, 900, 200, 5000, 1, 70_000]
  const kept = sizes.map((size, at) => {
    const text = String.fromCharCode(97 + at).repeat(size)
    held.add(at * 8, at * 7, Buffer.from(`>>${text}<<`), 2, 2 + size, 20)
    return { flags: at * 8, mask: at * 7, text }
  })
  expect(contents(held)).toEqual(kept)
  expect(held.payloadBytes).toBe(sizes.reduce((sum, size) => sum + size + 20, 0))
  held.clear()
  expect([held.count, held.payloadBytes, held.bytes.length]).toEqual([0, 0, 0])
})

test('a buffer that was given back is one other stream’s', () => {
  const first = new HeldFrames(LINK)
  const second = new HeldFrames(LINK)
  first.add(0, 0, Buffer.from('first'), 0, 5, 0)
  first.clear()
  first.clear()
  first.add(0, 0, Buffer.from('again'), 0, 5, 0)
  second.add(0, 0, Buffer.from('other'), 0, 5, 0)
  expect([contents(first)[0]?.text, contents(second)[0]?.text]).toEqual(['again', 'other'])
})

test('one final frame is a whole batch; two are not', () => {
  const held = new HeldFrames(LINK)
  held.add(Flag.Boundary, 0, Buffer.from('a'), 0, 1, 0)
  expect([held.whole, held.final]).toEqual([false, false])
  held.add(Flag.Final, 0, Buffer.from('b'), 0, 1, 0)
  expect([held.whole, held.final]).toEqual([false, true])
  held.clear()
  held.add(Flag.Final, 0, Buffer.from('c'), 0, 1, 0)
  expect(held.whole).toBe(true)
})

test('what frames name is kept as it was when they came', () => {
  const define = (id: number) => new Definition(parse('select 1', { name: `s${id}` }), id)
  const known = new Map([1, 2, 3].map((id) => [id, define(id)]))
  const before = new Map(known)
  const held = new HeldFrames({ ...LINK, definitions: known })
  for (const ids of [[0, 1, 2], [1], [9]]) {
    const frame = Buffer.alloc(OPS_HEAD_BYTES + OP_BYTES * ids.length)
    frame.writeUInt16BE(ids.length, 0)
    for (const [at, id] of ids.entries()) {
      frame[OPS_HEAD_BYTES + at * OP_BYTES] = Op.Need
      frame.writeUInt32BE(id, OPS_HEAD_BYTES + at * OP_BYTES + 4)
    }
    held.add(Flag.HasOps, 0, frame, 0, frame.length, 0)
  }
  known.clear()
  known.set(1, define(1))
  for (const id of [1, 2, 1, 2, 2]) expect(held.get(id)).toBe(before.get(id) as Definition)
  for (const id of [0, 3, 9]) expect(held.get(id)).toBeUndefined()
  held.clear()
  expect(held.get(1)).toBeUndefined()
})
