// global/pg_control, read directly: pg_controldata is not in every installation, and Status must
// not start a program.
import { closeSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { PgError } from '../../shared/errors/pg-error.ts'
import { crc32c } from '../files/crc32c.ts'

/** What of pg_control this system uses. LSNs are 64 bits. */
export interface PgControl {
  readonly systemIdentifier: bigint
  readonly state: ControlState
  readonly checkpointLsn: bigint
  /** Where recovery from that checkpoint begins. */
  readonly redoLsn: bigint
  readonly checkpointTimeline: number
  /** Recovery must reach this before it is consistent; 0n on a primary. */
  readonly minRecoveryLsn: bigint
  readonly minRecoveryTimeline: number
  readonly walSegmentBytes: number
  readonly dataChecksums: boolean
}

/** pg_control's DBState, in its order. Source: catalog/pg_control.h. */
export const CONTROL_STATES = [
  'starting up',
  'shut down',
  'shut down in recovery',
  'shutting down',
  'in crash recovery',
  'in archive recovery',
  'in production',
] as const
export type ControlState = (typeof CONTROL_STATES)[number]

// Offsets of ControlFileData on 64-bit little-endian Linux, the same in 14 to 18 up to the nonce.
const AT = {
  systemIdentifier: 0,
  controlVersion: 8,
  state: 16,
  checkpoint: 32,
  redo: 40,
  checkpointTimeline: 48,
  minRecovery: 136,
  minRecoveryTimeline: 144,
  walSegmentBytes: 228,
  checksumVersion: 252,
} as const

/** PG_CONTROL_VERSION -> where the CRC lies, which covers everything before it. */
const CRC_AT: ReadonlyMap<number, number> = new Map([
  [1300, 288], // 14 to 16
  [1700, 288],
  [1800, 292], // default_char_signedness came before the nonce
])
const READ_BYTES = 512 // Postgres keeps it within one sector, so that a write is never torn
const READS_MAX = 3 // on some file systems a read beside a write may still see half of it

/**
 * Reads and checks DATADIR/global/pg_control.
 * @throws PgError data_corrupted naming the file when it is missing, short, of an unknown version,
 * or its CRC is wrong.
 */
export function readPgControl(dataDir: string): PgControl {
  const path = join(dataDir, 'global', 'pg_control')
  for (let reads = 1; ; reads++) {
    try {
      return parsePgControl(readStart(path))
    } catch (cause) {
      if (reads < READS_MAX) continue
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new PgError('data_corrupted', `${path}: ${why}`, { cause })
    }
  }
}

/** Parses pg_control's bytes. @throws RangeError saying what is wrong with them. */
export function parsePgControl(bytes: Buffer): PgControl {
  if (bytes.length < READ_BYTES) throw new RangeError(`only ${bytes.length} bytes`)
  const version = bytes.readUInt32LE(AT.controlVersion)
  const crcAt = CRC_AT.get(version)
  if (crcAt === undefined) throw new RangeError(`unknown pg_control version ${version}`)
  if (crc32c(bytes.subarray(0, crcAt)) !== bytes.readUInt32LE(crcAt)) {
    throw new RangeError('its checksum is wrong')
  }
  const state = CONTROL_STATES[bytes.readInt32LE(AT.state)]
  if (state === undefined) throw new RangeError('it has an unknown database state')
  return {
    systemIdentifier: bytes.readBigUInt64LE(AT.systemIdentifier),
    state,
    checkpointLsn: bytes.readBigUInt64LE(AT.checkpoint),
    redoLsn: bytes.readBigUInt64LE(AT.redo),
    checkpointTimeline: bytes.readUInt32LE(AT.checkpointTimeline),
    minRecoveryLsn: bytes.readBigUInt64LE(AT.minRecovery),
    minRecoveryTimeline: bytes.readUInt32LE(AT.minRecoveryTimeline),
    walSegmentBytes: bytes.readUInt32LE(AT.walSegmentBytes),
    dataChecksums: bytes.readUInt32LE(AT.checksumVersion) !== 0,
  }
}

/**
 * The timeline that this directory is on. The checkpoint's is old between a promotion and the first
 * checkpoint after it, when the end of recovery has already been recorded as the minimum.
 */
export function controlTimeline(control: PgControl): number {
  return Math.max(control.checkpointTimeline, control.minRecoveryTimeline)
}

function readStart(path: string): Buffer {
  const fd = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(READ_BYTES)
    return bytes.subarray(0, readSync(fd, bytes, 0, READ_BYTES, 0))
  } finally {
    closeSync(fd)
  }
}
