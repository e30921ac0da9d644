import { describe, expect, test } from 'bun:test'
import {
  BATCH_HEAD_BYTES,
  Flag,
  FRAME_PAYLOAD_BYTES_MAX,
  Kind,
  OP_BYTES,
  OPS_HEAD_BYTES,
  OPS_PER_FRAME_MAX,
} from '../../shared/link/frame.ts'
import { LinkConnection } from '../../shared/link/link-connection.ts'
import { FrameReader } from '../../shared/link/frame-reader.ts'
import { bind, parse, sync } from '../../shared/pgwire/frontend.ts'
import { BatchBuilder } from './batch-builder.ts'

type Frame = { kind: number; flags: number; value: number; payload: Buffer }

/** What a builder sends, as frames. */
function frames(build: (builder: BatchBuilder) => number, batch = 7): Frame[] {
  const seen: Frame[] = []
  const reader = new FrameReader((kind, _stream, flags, _status, _pins, value, bytes, start, end) =>
    seen.push({ kind, flags, value, payload: Buffer.from(bytes.subarray(start, end)) }),
  )
  const socket = {
    write(bytes: Uint8Array, start: number, length: number) {
      reader.feed(Buffer.from(bytes.slice(start, start + length)))
      return length
    },
    end() {},
    terminate() {},
  }
  const connection = new LinkConnection(socket, {
    frame() {},
    drained() {},
    closed() {},
  })
  const builder = new BatchBuilder()
  const bytes = build(builder)
  const rule = Buffer.alloc(16, 1)
  const lastFlags = Flag.Final | Flag.Boundary
  const shipment = { connection, stream: 3, batch, rule, pins: 5, firstFlags: 0, lastFlags }
  const payload = builder.send(shipment)
  expect(payload).toBe(seen.reduce((sum, frame) => sum + frame.payload.length, 0))
  expect(Buffer.concat(seen.map(rawOf)).length).toBe(bytes)
  return seen
}

function opsOf({ kind, flags, payload }: Frame): { op: number; offset: number; id: number }[] {
  if ((flags & Flag.HasOps) === 0) return []
  const start = kind === Kind.Batch ? BATCH_HEAD_BYTES : 0
  return Array.from({ length: payload.readUInt16BE(start) }, (_, index) => {
    const at = start + OPS_HEAD_BYTES + index * OP_BYTES
    return {
      op: payload[at] as number,
      offset: payload.readUInt16BE(at + 2),
      id: payload.readUInt32BE(at + 4),
    }
  })
}

function rawOf(frame: Frame): Buffer {
  const { kind, flags, payload } = frame
  const head = kind === Kind.Batch ? BATCH_HEAD_BYTES : 0
  const ops = (flags & Flag.HasOps) === 0 ? 0 : OPS_HEAD_BYTES + opsOf(frame).length * OP_BYTES
  return payload.subarray(head + ops)
}

describe('a piece', () => {
  test('without changes is the client’s own bytes, behind rule and pins', () => {
    const source = Buffer.concat([Buffer.from('behind'), bind(), sync(), Buffer.from('after')])
    const [frame] = frames((builder) => {
      builder.begin(source, 6)
      return builder.finish(source.length - 5)
    }) as [Frame]
    expect(frame.kind).toBe(Kind.Batch)
    expect(frame.value).toBe(7)
    expect(frame.flags).toBe(Flag.Final | Flag.Boundary)
    expect(frame.payload.subarray(0, 16)).toEqual(Buffer.alloc(16, 1))
    expect(frame.payload.readUInt32BE(16)).toBe(5)
    expect(rawOf(frame)).toEqual(Buffer.concat([bind(), sync()]))
  })

  test('has names replaced, lengths too, and operations where their messages are', () => {
    const messages = [parse('select 1', { name: 'a' }), bind({ statement: 'a' }), sync()] as const
    const source = Buffer.concat(messages)
    const [first, second] = messages
    const [frame] = frames((builder) => {
      builder.begin(source, 0)
      builder.op(1, 9, 0)
      builder.rename(
        { at: 0, nameStart: 5, nameEnd: 6, length: first.length - 1 },
        Buffer.from('mg:9'),
      )
      const at = first.length
      builder.op(2, 9, at)
      const place = { at, nameStart: at + 6, nameEnd: at + 7, length: second.length - 1 }
      builder.rename(place, Buffer.from('mg:9'))
      builder.replace(source.length, source.length, Buffer.from('more'))
      return builder.finish(source.length)
    }) as [Frame]
    const renamed = parse('select 1', { name: 'mg:9' })
    expect(rawOf(frame)).toEqual(
      Buffer.concat([renamed, bind({ statement: 'mg:9' }), sync(), Buffer.from('more')]),
    )
    expect(opsOf(frame)).toEqual([
      { op: 1, offset: 0, id: 9 },
      { op: 2, offset: renamed.length, id: 9 },
    ])
  })

  test('of any size is cut into frames, each operation in the frame of its message', () => {
    const message = bind({ statement: 'a' })
    const count = 4000
    const source = Buffer.concat(Array.from({ length: count }, () => message))
    const all = frames((builder) => {
      builder.begin(source, 0)
      for (let index = 0; index < count; index++) {
        builder.op(2, index + 1, index * message.length)
        if (index % 7 === 0) builder.op(4, 0, index * message.length)
      }
      return builder.finish(source.length)
    })
    let before = 0
    let next = 0
    for (const frame of all) {
      expect(frame.payload.length).toBeLessThanOrEqual(FRAME_PAYLOAD_BYTES_MAX)
      const ops = opsOf(frame)
      expect(ops.length).toBeLessThanOrEqual(OPS_PER_FRAME_MAX)
      for (const { op, offset, id } of ops) {
        expect(before + offset).toBe((op === 2 ? next : next - 1) * message.length)
        if (op === 2) expect(id).toBe(++next)
      }
      before += rawOf(frame).length
    }
    expect(next).toBe(count)
    expect(all.map(({ kind }) => kind)).toEqual([
      Kind.Batch,
      ...Array.from({ length: all.length - 1 }, () => Kind.Data),
    ])
    expect(all.slice(0, -1).every(({ flags }) => (flags & Flag.Final) === 0)).toBe(true)
    expect(all.slice(1).every(({ value }) => value === 5)).toBe(true)
  })
})
