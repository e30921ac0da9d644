// The layout of the promise file: two slots of fixed size, each a line of text, so that a person
// can read it. A slot is `CHECKSUM SEQUENCE JSON`, padded with spaces to its size and ended by a
// line end. A write goes to the slot that is not current, so a torn one leaves the previous state
// whole.

/** Room of one slot; a disk writes a sector or a page at once, and slots never share one. */
export const SLOT_BYTES = 4096
/** Both slots: the file's size from its creation on, so that a full disk cannot stop a promise. */
export const FILE_BYTES = 2 * SLOT_BYTES

/** A slot's content. */
export type Slot = { readonly sequence: bigint; readonly json: string }

/** Where the state of this sequence lies. */
export function slotOffset(sequence: bigint): number {
  return Number(sequence % 2n) * SLOT_BYTES
}

/** One slot's bytes. @throws RangeError when `json` has no room in it. */
export function encodeSlot({ sequence, json }: Slot): Buffer {
  const body = `${sequence} ${json}`
  const line = Buffer.from(`${checksum(body)} ${body}`)
  if (line.length >= SLOT_BYTES)
    throw new RangeError(`a promise of ${line.length} bytes is too long`)
  const bytes = Buffer.alloc(SLOT_BYTES, ' ')
  line.copy(bytes)
  bytes[SLOT_BYTES - 1] = 0x0a
  return bytes
}

/** What the slot holds; undefined for one that is empty, torn or damaged. */
export function decodeSlot(bytes: Buffer): Slot | undefined {
  const match = /^([0-9a-f]{64}) ((\d+) (\{.*\})) *\n$/.exec(bytes.toString('utf8'))
  if (match?.[1] === undefined || match[2] === undefined || match[4] === undefined) return undefined
  if (checksum(match[2]) !== match[1]) return undefined
  return { sequence: BigInt(match[3] ?? 0), json: match[4] }
}

/** The newer of both slots, or undefined when none is whole. */
export function newestSlot(file: Buffer): Slot | undefined {
  const slots = [0, SLOT_BYTES].flatMap(
    (offset) => decodeSlot(file.subarray(offset, offset + SLOT_BYTES)) ?? [],
  )
  return slots.toSorted((a, b) => (a.sequence > b.sequence ? -1 : 1))[0]
}

function checksum(text: string): string {
  return new Bun.CryptoHasher('sha256').update(text).digest('hex')
}
