// Whether there is room on this node's disks, in words for people; orch goes by whether there are
// any.
import { freeBytes } from '../../shared/disk/free-bytes.ts'

/** Less than one segment of WAL: Postgres ends when it cannot begin the next one. */
const DATA_BYTES_MIN = 16n * 1024n * 1024n
/** What its small files need to be written anew; its promises have their room from the start. */
const STATE_BYTES_MIN = 64n * 1024n

/** Why there is no room for data; '' while there is, or nobody knows. */
export function whyNoRoomForData(free: bigint | undefined): string {
  if (free === undefined || free >= DATA_BYTES_MIN) return ''
  return `the disk of its data is full: ${free} bytes are left`
}

/** The same for the folder of its promises. */
export function whyNoRoomForState(stateDir: string): string {
  const free = freeBytes(stateDir)
  if (free === undefined || free >= STATE_BYTES_MIN) return ''
  return `the disk of its promises is full: ${free} bytes are left`
}
