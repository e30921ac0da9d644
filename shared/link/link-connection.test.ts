import { describe, expect, test } from 'bun:test'
import { FRAME_HEADER_BYTES, Kind } from './frame.ts'
import { LinkConnection, LINK_QUEUE_BYTES_MAX, type LinkSocket } from './link-connection.ts'

/** A socket that takes as many bytes as it is allowed to, and remembers them. */
class FakeSocket implements LinkSocket {
  readonly writes: Buffer[] = []
  room = Number.POSITIVE_INFINITY
  ended = false

  write(bytes: Uint8Array, start: number, length: number): number {
    const taken = Math.min(length, this.room)
    this.room -= taken
    if (taken > 0) this.writes.push(Buffer.from(bytes.slice(start, start + taken)))
    return taken
  }
  end(): void {
    this.ended = true
  }
  terminate(): void {
    this.ended = true
  }
  kinds(): number[] {
    const bytes = Buffer.concat(this.writes)
    const kinds: number[] = []
    for (let at = 0; at < bytes.length; at += FRAME_HEADER_BYTES + bytes.readUInt32BE(at)) {
      kinds.push(bytes[at + 8] as number)
    }
    return kinds
  }
}

function open(): { socket: FakeSocket; link: LinkConnection; events: string[] } {
  const socket = new FakeSocket()
  const events: string[] = []
  const link = new LinkConnection(socket, {
    frame: (kind) => void events.push(`frame ${kind}`),
    drained: () => void events.push('drained'),
    closed: (reason) => void events.push(`closed ${reason?.message ?? ''}`),
  })
  return { socket, link, events }
}

const body = Buffer.alloc(1000, 1)
const data = (link: LinkConnection) => link.send(Kind.Data, 1, 0, 0, 0, 0, body)
const health = (link: LinkConnection) => link.send(Kind.Health, 0, 0, 0, 0, 0)

describe('link connection', () => {
  test('a frame leaves at once while one stream is busy', () => {
    const { socket, link } = open()
    link.busy = 1
    data(link)
    data(link)
    expect(socket.writes).toHaveLength(2)
  })

  test('the frames of one turn leave in one write while several streams are busy', async () => {
    const { socket, link } = open()
    link.busy = 2
    for (let i = 0; i < 10; i++) data(link)
    expect(socket.writes).toHaveLength(0)
    await new Promise((resolve) => setImmediate(resolve))
    expect(socket.writes).toHaveLength(1)
    expect(socket.kinds()).toEqual(Array.from({ length: 10 }, () => Kind.Data))
  })

  test('control frames overtake data, never inside a chunk already begun', () => {
    const { socket, link } = open()
    socket.room = 500 // the first data frame is cut in its middle
    for (let i = 0; i < 200; i++) data(link)
    health(link)
    socket.room = Number.POSITIVE_INFINITY
    link.onDrain()
    const kinds = socket.kinds()
    expect(kinds).toHaveLength(201)
    const at = kinds.indexOf(Kind.Health)
    expect(at).toBeGreaterThan(0)
    expect(at).toBeLessThan(100)
  })

  test('a full queue says so, and drained is told once when it has emptied', () => {
    const { socket, link, events } = open()
    socket.room = 0
    let queued = 0
    for (; !link.congested; queued += body.length) data(link)
    expect(queued).toBeLessThan(LINK_QUEUE_BYTES_MAX + body.length)
    socket.room = Number.POSITIVE_INFINITY
    link.onDrain()
    link.onDrain()
    expect(events).toEqual(['drained'])
    expect(link.congested as boolean).toBe(false)
  })

  test('a frame that is too long breaks the link', () => {
    const { link, events } = open()
    const bad = Buffer.alloc(FRAME_HEADER_BYTES)
    bad.writeUInt32BE(1 << 20, 0)
    link.onData(bad)
    expect(events).toEqual(['closed link frame of 1048576 bytes is over the limit'])
    expect(link.closed).toBe(true)
  })

  test('frames behind the one that closed the link are dropped', () => {
    const { socket, link, events } = open()
    health(link)
    link.flush() // what is not data leaves a turn later
    const twice = Buffer.concat([...socket.writes, ...socket.writes])
    link.handler = {
      frame: () => link.close(),
      drained: () => undefined,
      closed: () => void events.push('closed'),
    }
    link.onData(twice)
    expect(events).toEqual(['closed'])
  })
})
