/**
 * What a pooler keeps of a statement besides its Parse message: an object with its shape, entries
 * of two tables, and the runtime's part of each. Measured on Bun 1.4: 440 bytes.
 */
const OVERHEAD_BYTES = 512

/** What a statement takes in a pooler whose Parse message is so long. Both ends count by it. */
export function definitionBytes(messageBytes: number): number {
  return messageBytes + OVERHEAD_BYTES
}
