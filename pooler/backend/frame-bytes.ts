import { PgError } from '../../shared/errors/pg-error.ts'
import { Flag, OP_BYTES, OPS_HEAD_BYTES } from '../../shared/link/frame.ts'

/** Operations in the table that a frame's bytes[start, end) begin with; none without the flag. */
export function opsOf(flags: number, bytes: Buffer, start: number, end: number): number {
  if ((flags & Flag.HasOps) === 0) return 0
  const ops = end - start < OPS_HEAD_BYTES ? Infinity : bytes.readUInt16BE(start)
  if (start + OPS_HEAD_BYTES + ops * OP_BYTES <= end) return ops
  throw new PgError('protocol_violation', 'link: operations are longer than their frame')
}

/**
 * Where the raw messages of a frame begin, behind its table of operations.
 * @throws PgError protocol_violation when the table is longer than the frame.
 */
export function rawStartOf(flags: number, bytes: Buffer, start: number, end: number): number {
  if ((flags & Flag.HasOps) === 0) return start
  return start + OPS_HEAD_BYTES + opsOf(flags, bytes, start, end) * OP_BYTES
}
