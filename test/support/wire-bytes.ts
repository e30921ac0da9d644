// Bytes of pgwire messages put together by hand, so that a test of a codec stands on something else
// than the codec.

/** An integer of `size` bytes, big endian, two's complement. */
export function int(size: 1 | 2 | 4 | 8, value: number | bigint): Buffer {
  const hex = BigInt.asUintN(size * 8, BigInt(value)).toString(16)
  return Buffer.from(hex.padStart(size * 2, '0'), 'hex')
}

/** A string with its NUL. */
export function str(text: string): Buffer {
  return Buffer.from(`${text}\0`)
}

/** A value as DataRow and Bind carry it. */
export function val(text: string | null): Buffer {
  if (text === null) return int(4, -1)
  return Buffer.concat([int(4, Buffer.byteLength(text)), Buffer.from(text)])
}

/** A whole message: type, length, body. Strings among the parts go in as they are. */
export function wire(type: string, ...parts: readonly (Buffer | string)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part as string)))
  return Buffer.concat([Buffer.from(type), int(4, body.length + 4), body])
}

/** A packet without type, as before a session. */
export function packet(...parts: readonly (Buffer | string)[]): Buffer {
  return wire('', ...parts)
}

/** Every way to cut `bytes` in two, and one byte at a time. */
export function* cuts(bytes: Buffer): Generator<Buffer[]> {
  for (let at = 0; at <= bytes.length; at += 1) {
    yield [Buffer.from(bytes.subarray(0, at)), Buffer.from(bytes.subarray(at))]
  }
  yield Array.from(bytes, (byte) => Buffer.from([byte]))
}

/** Cuts `bytes` into pieces of random size up to `largest`, from a source of numbers in [0, 1). */
export function pieces(bytes: Buffer, largest: number, random: () => number): Buffer[] {
  const result: Buffer[] = []
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + 1 + Math.floor(random() * largest))
    result.push(Buffer.from(bytes.subarray(at, end)))
    at = end
  }
  return result
}
