import type { IKeyValue } from 'etcd3'
import { prefixEnd } from '../limits.ts'
import type { Entry } from '../topology.ts'

/** Our part of an etcd: all keys below `root`, which starts and ends with a slash. */
export class Keyspace {
  readonly #root: string

  constructor(root: string) {
    this.#root = root
  }

  /** The key in etcd. */
  key(key: string): Buffer {
    return Buffer.from(this.#root + key)
  }

  /** The range in etcd of all keys that start with `prefix`. */
  range(prefix: string): { key: Buffer; range_end: Buffer } {
    return { key: this.key(prefix), range_end: Buffer.from(prefixEnd(this.#root + prefix)) }
  }

  /** Our key of one of etcd's below the root. */
  localKey(key: Buffer): string {
    return key.toString().slice(this.#root.length)
  }

  /** Our entry of one of etcd's. */
  entry(kv: IKeyValue): Entry {
    return {
      key: this.localKey(kv.key),
      value: kv.value.toString(),
      revision: BigInt(kv.mod_revision),
      createRevision: BigInt(kv.create_revision),
      ...(kv.lease !== '0' && { lease: kv.lease }),
    }
  }
}
