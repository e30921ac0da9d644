import type { IpRange } from './ip-address.ts'

/** How a client proves who it is; `trust` asks for nothing, `reject` lets nobody in. */
export type HbaMethod = 'scram-sha-256' | 'trust' | 'cert' | 'reject'

/** What must be known of a client's certificate, whatever the method. */
export type ClientCert = 'no' | 'verify-ca' | 'verify-full'

/** The connections that a line is about. */
export type HbaType = 'local' | 'host' | 'hostssl' | 'hostnossl' | 'hostgssenc' | 'hostnogssenc'

/** Whom a word of the column DATABASE means. */
export type DatabaseWord =
  | { readonly kind: 'all' | 'sameuser' | 'samerole' | 'replication' }
  | { readonly kind: 'name'; readonly name: string }

/** Whom a word of the column USER means. */
export type UserWord =
  | { readonly kind: 'all' }
  | { readonly kind: 'member' | 'name'; readonly name: string }

/** Where from: anywhere, this machine, its networks, or a range. */
export type AddressSet = 'all' | 'samehost' | 'samenet' | IpRange

/** One line of the rules file. */
export type HbaRule = {
  /** 0 for the rules that hold without a file. */
  readonly line: number
  readonly text: string
  readonly type: HbaType
  readonly databases: readonly DatabaseWord[]
  readonly users: readonly UserWord[]
  readonly address: AddressSet
  readonly method: HbaMethod
  readonly clientCert: ClientCert
  /** Name of the map from a certificate's name to roles. */
  readonly map: string | undefined
}

/** A client, as far as rules look at it. */
export type Newcomer = {
  readonly unix: boolean
  readonly tls: boolean
  /** Undefined for a unix socket. */
  readonly address: Uint8Array | undefined
  readonly user: string
  readonly database: string
  /** It wants a physical replication connection, which belongs to no database. */
  readonly physical: boolean
}
