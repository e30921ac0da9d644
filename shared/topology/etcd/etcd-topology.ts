// The store on etcd v3, for more than one machine. etcd3 carries the calls; its watches, leases,
// retries and circuit breakers are replaced (why: etcd-watch.ts, kept-lease.ts, endpoints.ts).
import type { ClientDuplexStream } from '@grpc/grpc-js'
import type {
  ICompare,
  ILeaseKeepAliveRequest,
  ILeaseKeepAliveResponse,
  IRequestOp,
  ITxnResponse,
} from 'etcd3'
import { assert } from '../../errors/assert.ts'
import type { Logger } from '../../log/logger.ts'
import { bootTimeMs, random } from '../../time/clock.ts'
import { KeptLease } from '../kept-lease.ts'
import { checkKey, checkPrefix, checkTransaction, checkTtl, LIST_ENTRIES_MAX } from '../limits.ts'
import {
  TopologyError,
  type Compare,
  type Entry,
  type EtcdSpec,
  type Lease,
  type LeaseRef,
  type Topology,
  type WatchEvent,
  type WatchOptions,
  type Write,
} from '../topology.ts'
import { watchLoop, type WatchSource } from '../watch-loop.ts'
import { Endpoints } from './endpoints.ts'
import { etcdChanges } from './etcd-watch.ts'
import { Keyspace } from './keyspace.ts'

const PAGE_ENTRIES = 1000
// A compaction between two pages of one list forgets the revision of the first.
const LIST_TRIES_MAX = 3

/** Opens an etcd store; reaches for it at the first operation. The caller disposes it. */
export async function connectEtcd(spec: EtcdSpec, options: { log: Logger }): Promise<Topology> {
  const library = await import('etcd3')
  const first = Math.floor(random() * spec.hosts.length) // spreads the services over the members
  return new EtcdTopology(new Endpoints(library, { hosts: spec.hosts, first }), spec.root, options)
}

class EtcdTopology implements Topology {
  readonly #endpoints: Endpoints
  readonly #keyspace: Keyspace
  readonly #log: Logger
  readonly #leases = new Set<KeptLease>()
  readonly #closed = new AbortController()

  constructor(endpoints: Endpoints, root: string, options: { log: Logger }) {
    this.#endpoints = endpoints
    this.#keyspace = new Keyspace(root)
    this.#log = options.log
  }

  async get(key: string): Promise<Entry | undefined> {
    checkKey(key)
    const request = { key: this.#keyspace.key(key) }
    const { kvs } = await this.#endpoints.read((etcd, options) => etcd.kv.range(request, options))
    return kvs[0] && this.#keyspace.entry(kvs[0])
  }

  async list(prefix: string): Promise<{ entries: Entry[]; revision: bigint }> {
    checkPrefix(prefix)
    for (let tries = 1; ; tries++) {
      try {
        return await this.#list(prefix)
      } catch (error) {
        if (!(error instanceof TopologyError) || error.condition !== 'compacted') throw error
        if (tries === LIST_TRIES_MAX)
          throw new TopologyError('unavailable', error.message, { cause: error })
      }
    }
  }

  async create(key: string, value: string, options: { lease?: LeaseRef } = {}): Promise<Entry> {
    return await this.#put([{ key, revision: 0n }], { put: key, value, ...options }, 'exists')
  }

  async put(
    key: string,
    value: string,
    options: { lease?: LeaseRef; revision?: bigint } = {},
  ): Promise<Entry> {
    const { revision, ...lease } = options
    const compares = revision === undefined ? [] : [{ key, revision }]
    return await this.#put(compares, { put: key, value, ...lease }, 'conflict')
  }

  async delete(key: string, options: { revision?: bigint } = {}): Promise<boolean> {
    const { revision } = options
    const compares = revision === undefined ? [] : [{ key, revision }]
    const answer = await this.#txn(compares, [{ delete: key }])
    if (!answer.succeeded) throw new TopologyError('conflict', `${key} is not at ${revision}`)
    return answer.responses[0]?.response_delete_range.deleted === '1'
  }

  async transaction(request: {
    readonly compares: readonly Compare[]
    readonly writes: readonly Write[]
  }): Promise<boolean> {
    return (await this.#txn(request.compares, request.writes)).succeeded
  }

  async grantLease(ttlMs: number): Promise<Lease> {
    checkTtl(ttlMs)
    let askedAtMs = bootTimeMs()
    const TTL = Math.ceil(ttlMs / 1000)
    // Repeated freely: a lease granted to nobody who knows of it expires, and holds no key.
    const granted = await this.#endpoints.read((etcd, options) => {
      askedAtMs = bootTimeMs()
      return etcd.leaseClient.leaseGrant({ TTL }, options)
    })
    const id = granted.ID
    const keeper = {
      id,
      ttlMs: Number(granted.TTL) * 1000,
      askedAtMs,
      renew: () => this.#renew(id),
      end: () => this.#revoke(id),
    }
    const lease = new KeptLease(keeper, {
      log: this.#log,
      onEnd: (ended) => this.#leases.delete(ended),
    })
    this.#leases.add(lease)
    return lease
  }

  async leaseRemainingMs({ id }: LeaseRef): Promise<number | undefined> {
    const request = { ID: id, keys: false }
    const { TTL } = await this.#endpoints.read((etcd, options) =>
      etcd.leaseClient.leaseTimeToLive(request, options),
    )
    return Number(TTL) < 0 ? undefined : Number(TTL) * 1000
  }

  watch(prefix: string, options: WatchOptions): AsyncIterable<WatchEvent[]> {
    checkPrefix(prefix)
    const signal = AbortSignal.any([options.signal, this.#closed.signal])
    return watchLoop(this.#source, prefix, { ...options, signal, log: this.#log })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new TopologyError('closed', 'the topology was closed'))
    for (const lease of this.#leases) lease.drop('the topology was closed')
    this.#endpoints[Symbol.dispose]()
  }

  readonly #source: WatchSource = {
    list: (prefix) => this.list(prefix),
    revisionsAt: async (prefix, revision) => {
      const { entries } = await this.#list(prefix, { revision, keysOnly: true })
      return new Map(entries.map((entry) => [entry.key, entry.revision]))
    },
    changes: (prefix, from, signal) =>
      etcdChanges(this.#endpoints, this.#keyspace, { prefix, from, signal }),
  }

  /** Page by page, all at the revision of the first. */
  async #list(
    prefix: string,
    at: { revision?: bigint; keysOnly?: boolean } = {},
  ): Promise<{ entries: Entry[]; revision: bigint }> {
    const { key: first, range_end } = this.#keyspace.range(prefix)
    const keys_only = at.keysOnly ?? false
    const entries: Entry[] = []
    let { revision } = at
    for (let key = first; ;) {
      const page = {
        key,
        range_end,
        keys_only,
        limit: PAGE_ENTRIES,
        revision: String(revision ?? 0),
      }
      const answer = await this.#endpoints.read((etcd, options) => etcd.kv.range(page, options))
      revision ??= BigInt(answer.header.revision)
      entries.push(...answer.kvs.map((kv) => this.#keyspace.entry(kv)))
      const last = answer.kvs.at(-1)
      if (!answer.more || last === undefined) return { entries, revision }
      if (entries.length >= LIST_ENTRIES_MAX) {
        throw new TopologyError('invalid', `more than ${LIST_ENTRIES_MAX} keys under ${prefix}`)
      }
      key = Buffer.concat([last.key, Buffer.from('\0')])
    }
  }

  async #put(
    compares: readonly Compare[],
    write: Extract<Write, { put: string }>,
    otherwise: 'exists' | 'conflict',
  ): Promise<Entry> {
    const key = this.#keyspace.key(write.put)
    // Read in the same transaction: the answer to a put lacks the create revision.
    const answer = await this.#txn(compares, [write], [{ request_range: { key } }])
    if (!answer.succeeded) {
      const what = otherwise === 'exists' ? 'exists' : `is not at ${compares[0]?.revision}`
      throw new TopologyError(otherwise, `${write.put} ${what}`)
    }
    const kv = answer.responses[1]?.response_range.kvs[0]
    assert(kv, 'a transaction reads what it wrote')
    return this.#keyspace.entry(kv)
  }

  async #txn(
    compares: readonly Compare[],
    writes: readonly Write[],
    reads: readonly IRequestOp[] = [],
  ): Promise<ITxnResponse> {
    checkTransaction(compares, writes)
    const request = {
      compare: compares.map((compare) => this.#compare(compare)),
      success: [...writes.map((write) => this.#operation(write)), ...reads],
    }
    return await this.#endpoints.write((etcd, options) => etcd.kv.txn(request, options))
  }

  #compare({ key, revision }: Compare): ICompare {
    const mod_revision = String(revision) // 0 for a key that is absent, in etcd as with us
    return { key: this.#keyspace.key(key), target: 'Mod', result: 'Equal', mod_revision }
  }

  #operation(write: Write): IRequestOp {
    if ('delete' in write)
      return { request_delete_range: { key: this.#keyspace.key(write.delete) } }
    const { put, value, lease } = write
    const key = this.#keyspace.key(put)
    return { request_put: { key, value: Buffer.from(value), lease: lease?.id ?? 0 } }
  }

  /** One keep-alive. False when the lease is gone. */
  async #renew(id: string): Promise<boolean> {
    const answer = await this.#endpoints.read(async (etcd, options) => {
      type Stream = ClientDuplexStream<ILeaseKeepAliveRequest, ILeaseKeepAliveResponse>
      const stream = (await etcd.leaseClient.leaseKeepAlive(options)) as unknown as Stream
      try {
        stream.write({ ID: id })
        for await (const response of stream) return response as ILeaseKeepAliveResponse
        throw new TopologyError('unavailable', 'etcd ended the keep-alive')
      } finally {
        stream.cancel()
      }
    })
    return answer.TTL !== '0'
  }

  async #revoke(ID: string): Promise<void> {
    try {
      await this.#endpoints.read((etcd, options) => etcd.leaseClient.leaseRevoke({ ID }, options))
    } catch (error) {
      if (error instanceof TopologyError && error.condition === 'lease_lost') return // as wished
      throw error
    }
  }
}
