import { describe, expect, test } from 'bun:test'
import { FRAME_HEADER_BYTES, FRAME_PAYLOAD_BYTES_MAX } from './frame.ts'
import { FrameReader } from './frame-reader.ts'

/** An independent writer: only what the layout in frame.ts says. */
function frame(kind: number, stream: number, value: number, payload: string): Buffer {
  const header = new DataView(new ArrayBuffer(FRAME_HEADER_BYTES))
  const body = Buffer.from(payload)
  header.setUint32(0, body.length)
  header.setUint32(4, stream)
  header.setUint8(8, kind)
  header.setUint8(9, 1)
  header.setUint8(10, 73)
  header.setUint8(11, 2)
  header.setUint32(12, value)
  return Buffer.concat([Buffer.from(header.buffer), body])
}

function collect(): { seen: unknown[][]; reader: FrameReader } {
  const seen: unknown[][] = []
  const reader = new FrameReader((...args) => {
    const [bytes, start, end] = [args[6], args[7], args[8]]
    seen.push([...args.slice(0, 6), bytes.toString('utf8', start, end)])
  })
  return { seen, reader }
}

const stream = Buffer.concat([
  frame(20, 7, 1, 'first'),
  frame(21, 0xffffffff, 0xfffffffe, ''),
  frame(20, 9, 3, 'x'.repeat(300)),
])
const expected = [
  [20, 7, 1, 73, 2, 1, 'first'],
  [21, 0xffffffff, 1, 73, 2, 0xfffffffe, ''],
  [20, 9, 1, 73, 2, 3, 'x'.repeat(300)],
]

describe('frame reader', () => {
  test('frames are the same wherever the bytes are cut', () => {
    for (let cut = 0; cut <= stream.length; cut++) {
      const { seen, reader } = collect()
      reader.feed(stream.subarray(0, cut))
      reader.feed(stream.subarray(cut))
      expect(seen).toEqual(expected)
    }
  })

  test('frames are the same fed byte by byte', () => {
    const { seen, reader } = collect()
    for (let at = 0; at < stream.length; at++) reader.feed(stream.subarray(at, at + 1))
    expect(seen).toEqual(expected)
  })

  test('the largest payload passes and one byte more breaks the link', () => {
    const { seen, reader } = collect()
    reader.feed(frame(20, 1, 0, 'y'.repeat(FRAME_PAYLOAD_BYTES_MAX)))
    expect(seen).toHaveLength(1)
    expect(() => reader.feed(frame(20, 1, 0, 'y'.repeat(FRAME_PAYLOAD_BYTES_MAX + 1)))).toThrow(
      'over the limit',
    )
  })
})
