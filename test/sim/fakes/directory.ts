// Stands in for shared/topology/directory.ts: everybody is known, always.
import type { PoolerRecord } from '../../../shared/topology/records.ts'
import { type NodeParts, there } from '../world/here.ts'

/** As the real one. */
export class PoolerDirectory {
  readonly poolers: ReadonlyMap<string, { record: PoolerRecord; readonly live: boolean }>

  constructor() {
    this.poolers = new Map([...there().nodes].map(([id, node]) => [id, known(node)]))
  }

  static watch(): PoolerDirectory {
    return new PoolerDirectory()
  }

  onChange(): Disposable {
    return { [Symbol.dispose]() {} }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

function known(node: NodeParts) {
  const { id } = node
  const record: PoolerRecord = {
    id,
    cell: id.slice(0, id.indexOf('_')),
    database: 'postgres',
    shard: '0-inf',
    incarnation: '',
    lifecycle: 'active',
    host: id,
    grpc: id,
    http: '',
    dataPort: 1,
    socket: '',
    postgresHost: id,
    postgresPort: 5432,
    updatedAtMs: 0,
  }
  return {
    record,
    get live() {
      return node.pooler?.alive === true
    },
  }
}
