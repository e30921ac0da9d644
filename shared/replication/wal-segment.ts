/** A place in WAL: a position, and the timeline on which it is meant. */
export type WalPlace = { readonly timeline: number; readonly lsn: bigint }

/** Name of the file in pg_wal that holds a place: '000000010000000000000003'. */
export function segmentName({ timeline, lsn }: WalPlace, segmentBytes: bigint): string {
  const perId = 0x1_0000_0000n / segmentBytes
  const segment = lsn / segmentBytes
  const part = (value: bigint) => value.toString(16).toUpperCase().padStart(8, '0')
  return part(BigInt(timeline)) + part(segment / perId) + part(segment % perId)
}
