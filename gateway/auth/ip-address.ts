// Addresses of clients as bytes: 4 for IPv4, 16 for IPv6, with the one mapped into the other
// unwrapped, so that a socket that listens for both matches the same rules.

import { networkInterfaces } from 'node:os'
import { isIPv4, isIPv6 } from 'node:net'

/** A range of addresses; both have the same length. */
export type IpRange = { readonly address: Uint8Array; readonly mask: Uint8Array }

const MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
const GROUPS = 8

/** The bytes of an address; undefined when it is none. A zone (`%eth0`) is left out. */
export function parseIp(text: string): Uint8Array | undefined {
  const [plain = ''] = text.split('%')
  if (isIPv4(plain)) return Uint8Array.from(plain.split('.'), Number)
  if (!isIPv6(plain)) return undefined
  const bytes = parseIpv6(plain)
  return MAPPED.every((byte, at) => bytes[at] === byte) ? bytes.slice(MAPPED.length) : bytes
}

function parseIpv6(text: string): Uint8Array {
  const [head = '', tail] = text.split('::')
  const front = groupsOf(head)
  const back = tail === undefined ? [] : groupsOf(tail)
  const zeros = Array.from({ length: GROUPS - front.length - back.length }, () => 0)
  const groups = tail === undefined ? front : [...front, ...zeros, ...back]
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]))
}

function groupsOf(text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((part) => {
    if (!part.includes('.')) return [Number.parseInt(part, 16)]
    const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number)
    return [(a << 8) | b, (c << 8) | d]
  })
}

/** A mask of `bits` ones, `bytes` long. */
export function maskOf(bits: number, bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, at) => {
    const ones = Math.min(8, Math.max(0, bits - 8 * at))
    return 0xff & (0xff << (8 - ones))
  })
}

/** Whether `address` is in `range`; one of another family never is. */
export function isIn(range: IpRange, address: Uint8Array): boolean {
  if (range.address.length !== address.length) return false
  return address.every((byte, at) => {
    const mask = range.mask[at] ?? 0
    return (byte & mask) === ((range.address[at] ?? 0) & mask)
  })
}

/** This machine's own addresses, or the networks that it is in. */
export function ownRanges(networks: boolean): IpRange[] {
  const ranges: IpRange[] = []
  for (const list of Object.values(networkInterfaces())) {
    for (const { address: text, netmask } of list ?? []) {
      const address = parseIp(text)
      if (address === undefined) continue
      const mask = networks ? parseIp(netmask) : maskOf(8 * address.length, address.length)
      if (mask !== undefined) ranges.push({ address, mask })
    }
  }
  return ranges
}
