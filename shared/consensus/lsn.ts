// LSNs are 64-bit byte positions in the WAL. As text they do not sort, so they are compared as bigint.

const SHAPE = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/

/** Reads `16/B374D848`. Undefined for anything else. */
export function parseLsn(text: string): bigint | undefined {
  const match = SHAPE.exec(text)
  if (!match) return undefined
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)
}

/** Writes it as Postgres does: `16/B374D848`. */
export function formatLsn(lsn: bigint): string {
  const hex = (part: bigint): string => part.toString(16).toUpperCase()
  return `${hex(lsn >> 32n)}/${hex(lsn & 0xffff_ffffn)}`
}
