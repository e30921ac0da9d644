// A client of the admin console, and rows by column.
import { query } from '../../shared/pgwire/frontend.ts'
import type { ColumnDescription } from '../../shared/pgwire/backend.ts'
import type { Cluster } from '../support/cluster.ts'
import { Frontend, type Address, type LoginOptions } from '../support/frontend.ts'

/** A row as text, by column. */
export type ShownRow = Readonly<Record<string, string | null>>

/** What a command was answered with. */
export type Answer = {
  readonly columns: readonly ColumnDescription[]
  readonly rows: readonly ShownRow[]
  readonly tag: string
}

/** The server refused a command. */
export class Refused extends Error {
  override readonly name = 'Refused'
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** Where a gateway of a cluster listens. */
export function addressOf(url: string): { host: string; port: number } {
  const { hostname, port } = new URL(url)
  return { host: hostname, port: Number(port) }
}

/** A session of the console. */
export class Admin implements AsyncDisposable {
  readonly frontend: Frontend

  constructor(frontend: Frontend) {
    this.frontend = frontend
  }

  static async connect(address: Address, options: LoginOptions = {}): Promise<Admin> {
    return new Admin(await Frontend.connect(address, { database: 'multigres', ...options }))
  }

  /** @throws Refused */
  async run(text: string): Promise<Answer> {
    const { frontend } = this
    frontend.send(query(text))
    let columns: readonly ColumnDescription[] = []
    const rows: ShownRow[] = []
    let tag = ''
    let refused: Refused | undefined
    for (;;) {
      const message = await frontend.message()
      if (message.name === 'RowDescription') columns = message.columns
      else if (message.name === 'DataRow') rows.push(rowOf(columns, message.values))
      else if (message.name === 'CommandComplete') tag = message.tag
      else if (message.name === 'ErrorResponse') {
        refused = new Refused(message.fields.code, message.fields.message)
      } else if (message.name === 'ReadyForQuery') {
        if (refused !== undefined) throw refused
        return { columns, rows, tag }
      }
    }
  }

  async show(what: string): Promise<readonly ShownRow[]> {
    return (await this.run(`SHOW ${what}`)).rows
  }

  /** The one row whose columns have these values. @throws Error when it is not one */
  async row(what: string, wanted: ShownRow): Promise<ShownRow> {
    const rows = (await this.show(what)).filter((row) =>
      Object.entries(wanted).every(([name, value]) => row[name] === value),
    )
    const [row, ...others] = rows
    if (row === undefined || others.length > 0) {
      throw new Error(`SHOW ${what} has ${rows.length} rows with ${JSON.stringify(wanted)}`)
    }
    return row
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.frontend[Symbol.asyncDispose]()
  }
}

/** A client of the cluster's database. */
export function connectTo(cluster: Cluster, options: LoginOptions = {}): Promise<Frontend> {
  return Frontend.connect(addressOf(cluster.url), options)
}

function rowOf(
  columns: readonly ColumnDescription[],
  values: readonly (Buffer | null)[],
): ShownRow {
  return Object.fromEntries(
    columns.map(({ name }, index) => [name, values[index]?.toString() ?? null]),
  )
}
