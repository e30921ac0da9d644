// Which port each member listens on: the fixed ones of the contract, what --set says, or free ones.
import { readFileSync } from 'node:fs'
import { random } from '../../shared/time/clock.ts'
import { RefusedError, UsageError } from '../errors.ts'

/** A port that some member needs. */
export interface PortSlot {
  /** Unique: `zone1_pooler1.http_port`. */
  readonly name: string
  /** Who needs it, for people: `pooler zone1_pooler1`. */
  readonly owner: string
  /** The flag that changes it. */
  readonly flag: string
  readonly address: string
  /** What it is unless it is to be a free one. */
  readonly preferred: number
  /** Take any free port. */
  readonly free: boolean
}

/** Ports by slot name. */
export type Ports = Readonly<Record<string, number>>

const PORT_MIN = 10_000
const PORT_MAX = 65_535
const TRIES_MAX = 2_000
const RANGE_FILE = '/proc/sys/net/ipv4/ip_local_port_range'

/**
 * Chooses a port for every slot. Free ones keep what `remembered` has, where nobody took it since.
 * @throws UsageError when two slots have one port; RefusedError naming every busy one.
 */
export function choosePorts(slots: readonly PortSlot[], remembered: Ports): Ports {
  const fixed = slots.filter(({ free }) => !free)
  refuseTwice(fixed)
  const busy = fixed.flatMap((slot) => complaintAbout(slot))
  if (busy.length > 0)
    throw new RefusedError(`${busy.join(', ')}; --port 0 takes free ports for all`)
  const ports = Object.fromEntries(fixed.map((slot) => [slot.name, slot.preferred]))
  const taken = new Set(Object.values(ports))
  for (const slot of slots.filter(({ free }) => free)) {
    const before = remembered[slot.name]
    const keep = before !== undefined && !taken.has(before) && isFree(slot.address, before)
    const port = keep ? before : findFree(slot.address, taken)
    taken.add(port)
    ports[slot.name] = port
  }
  return ports
}

function refuseTwice(slots: readonly PortSlot[]): void {
  const problems: string[] = []
  const seen = new Map<number, PortSlot>()
  for (const slot of slots) {
    const other = seen.get(slot.preferred)
    if (slot.preferred > PORT_MAX) {
      problems.push(`${slot.owner}: port ${slot.preferred} is above ${PORT_MAX}; use ${slot.flag}`)
    } else if (other !== undefined) {
      const both = `${other.owner} and ${slot.owner}`
      problems.push(`${both} would share port ${slot.preferred}; use ${slot.flag}`)
    }
    seen.set(slot.preferred, slot)
  }
  if (problems.length > 0) throw new UsageError(problems)
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'is in use',
  EACCES: 'needs root',
  EADDRNOTAVAIL: 'is on no address of this machine',
}

function complaintAbout(slot: PortSlot): string[] {
  const code = probe(slot.address, slot.preferred)
  if (code === undefined) return []
  const where = `port ${slot.preferred} of ${slot.owner} on ${slot.address}`
  return [`${where} ${REASONS[code] ?? `cannot be used (${code})`} (change it with ${slot.flag})`]
}

const isFree = (address: string, port: number): boolean => probe(address, port) === undefined

/**
 * Undefined when the port can be listened on, else the system's error code. Without SO_REUSEPORT:
 * with it a second cluster of the same user would join the port and take half of the clients.
 */
function probe(address: string, port: number): string | undefined {
  try {
    const options = { hostname: address, port, exclusive: true, socket: { data() {} } }
    Bun.listen(options).stop(true)
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'UNKNOWN'
  }
}

/** Below the ephemeral range: any outgoing connection may take a port of that at any moment. */
function findFree(address: string, taken: ReadonlySet<number>): number {
  const [low, high] = ephemeralRange()
  const [from, to] = low - PORT_MIN > TRIES_MAX ? [PORT_MIN, low - 1] : [high + 1, PORT_MAX]
  for (let tries = 0; tries < TRIES_MAX && from <= to; tries += 1) {
    const port = from + Math.floor(random() * (to - from + 1))
    if (taken.has(port)) continue
    const code = probe(address, port)
    if (code === undefined) return port
    if (code !== 'EADDRINUSE' && code !== 'EACCES') throw unusable(address, code)
  }
  throw new RefusedError(`no free port on ${address} outside the ephemeral range ${low}-${high}`)
}

/** No other port would do better. */
function unusable(address: string, code: string): RefusedError {
  // A name that resolves to nothing has no code of its own.
  const foreign = code === 'EADDRNOTAVAIL' || code === 'UNKNOWN'
  const why = foreign ? 'it is no address of this machine' : code
  return new RefusedError(`cannot listen on ${address}: ${why} (change it with --listen)`)
}

function ephemeralRange(): [number, number] {
  try {
    const [low = 32_768, high = 60_999] = readFileSync(RANGE_FILE, 'utf8').split(/\s+/).map(Number)
    return [low, high]
  } catch {
    return [32_768, 60_999] // Linux's own default
  }
}
