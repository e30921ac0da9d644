// One question to our own Postgres over its unix socket: a session that starts, asks, and ends.
import { decodeBackend, type BackendMessage } from '../../shared/pgwire/backend-decode.ts'
import { query, startup, terminate } from '../../shared/pgwire/frontend.ts'
import { MessageReader } from '../../shared/pgwire/message-reader.ts'
import { ProtocolVersion } from '../../shared/pgwire/message-types.ts'
import { timer } from '../../shared/time/clock.ts'

/** Where and as whom. Without `sql` the session ends as soon as it could ask. */
export interface Question {
  readonly socket: string
  readonly user: string
  readonly sql?: string
  readonly timeoutMs: number
}

/**
 * `rows`: values as text. `refused`: Postgres said no, by SQLSTATE. `absent`: nobody listens.
 * `silent`: somebody took the connection and did not answer in time.
 */
export type Answer =
  | { readonly kind: 'rows'; readonly rows: (string | null)[][] }
  | { readonly kind: 'refused'; readonly sqlstate: string; readonly message: string }
  | { readonly kind: 'absent' }
  | { readonly kind: 'silent' }

const ANSWER_BYTES_MAX = 1024 * 1024
const DATABASE = 'postgres'

/** Asks. Never throws for what the server does. */
export function ask(question: Question): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<Answer>()
  const reader = new MessageReader({ messageBytesMax: ANSWER_BYTES_MAX })
  const rows: (string | null)[][] = []
  let connection: Bun.Socket | undefined
  let settled = false
  let asked = question.sql === undefined

  const settle = (answer: Answer) => {
    if (settled) return
    settled = true
    deadline[Symbol.dispose]()
    connection?.end(terminate())
    resolve(answer)
  }
  const deadline = timer(question.timeoutMs, () => settle({ kind: 'silent' }))
  const take = (message: BackendMessage) => {
    if (message.name === 'ErrorResponse') {
      const { code, message: text } = message.fields
      settle({ kind: 'refused', sqlstate: code, message: text })
    } else if (message.name === 'DataRow') {
      rows.push(message.values.map((value) => value?.toString('utf8') ?? null))
    } else if (message.name === 'ReadyForQuery') {
      if (asked) return settle({ kind: 'rows', rows })
      asked = true
      connection?.write(query(question.sql ?? ''))
    }
  }
  const socket = {
    open(opened: Bun.Socket) {
      connection = opened
      if (settled) return void opened.end()
      const { user } = question
      opened.write(startup({ user, database: DATABASE }, ProtocolVersion.V3_0))
    },
    data(_: Bun.Socket, chunk: Buffer) {
      if (settled) return
      reader.feed(Buffer.from(chunk))
      while (!settled && reader.next() !== undefined) take(decodeBackend(reader))
    },
    close: () => settle({ kind: 'absent' }),
    error: () => settle({ kind: 'absent' }),
    connectError: () => settle({ kind: 'absent' }),
  }
  Bun.connect({ unix: question.socket, socket }).catch(() => settle({ kind: 'absent' }))
  return promise
}

/** The path of a server's socket. */
export function socketPath(socketDir: string, port: number): string {
  return `${socketDir}/.s.PGSQL.${port}`
}
