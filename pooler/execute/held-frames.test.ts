// Goal: frames that wait come out as they came in, whatever their number and size.
import { expect, test } from 'bun:test'
import { Flag } from '../../shared/link/frame.ts'
import { HeldFrames } from './held-frames.ts'

type Kept = { flags: number; mask: number; text: string }

function contents(held: HeldFrames): Kept[] {
  return Array.from({ length: held.count }, (_, at) => ({
    flags: held.flagsOf(at),
    mask: held.maskOf(at),
    text: held.bytes.toString('latin1', held.startOf(at), held.endOf(at)),
  }))
}

test('small and large frames keep their order and their bytes', () => {
  const held = new HeldFrames()
  const sizes = [3, 0, 900, 200, 5000, 1, 70_000]
  const kept = sizes.map((size, at) => {
    const text = String.fromCharCode(97 + at).repeat(size)
    held.add(at, at * 7, Buffer.from(`>>${text}<<`), 2, 2 + size, 20)
    return { flags: at, mask: at * 7, text }
  })
  expect(contents(held)).toEqual(kept)
  expect(held.payloadBytes).toBe(sizes.reduce((sum, size) => sum + size + 20, 0))
  held.clear()
  expect([held.count, held.payloadBytes, held.bytes.length]).toEqual([0, 0, 0])
})

test('a buffer that was given back is one other stream’s', () => {
  const first = new HeldFrames()
  const second = new HeldFrames()
  first.add(0, 0, Buffer.from('first'), 0, 5, 0)
  first.clear()
  first.clear()
  first.add(0, 0, Buffer.from('again'), 0, 5, 0)
  second.add(0, 0, Buffer.from('other'), 0, 5, 0)
  expect([contents(first)[0]?.text, contents(second)[0]?.text]).toEqual(['again', 'other'])
})

test('one final frame is a whole batch; two are not', () => {
  const held = new HeldFrames()
  held.add(Flag.Boundary, 0, Buffer.from('a'), 0, 1, 0)
  expect([held.whole, held.final]).toEqual([false, false])
  held.add(Flag.Final, 0, Buffer.from('b'), 0, 1, 0)
  expect([held.whole, held.final]).toEqual([false, true])
  held.clear()
  held.add(Flag.Final, 0, Buffer.from('c'), 0, 1, 0)
  expect(held.whole).toBe(true)
})
