import { readFile } from 'node:fs/promises'
import type { ConnectionOptions } from 'node:tls'
import { PgError } from '../errors/pg-error.ts'
import { decodeBackend } from '../pgwire/backend-decode.ts'
import { query, startup, terminate } from '../pgwire/frontend.ts'
import { parseLsn } from '../pgwire/lsn.ts'
import { Backend, ProtocolVersion } from '../pgwire/message-types.ts'
import { ServerError } from '../pgwire/server-error.ts'
import type { ScramSecret } from '../scram/client.ts'
import { baseBackup, type BaseBackupEvent, type BaseBackupOptions } from './base-backup.ts'
import { Login } from './login.ts'
import { readResult, type ResultRow } from './result.ts'
import { ReplicationStream, type StartReplicationOptions } from './replication-stream.ts'
import { type ServerAddress, WireStream } from './wire-stream.ts'

/** Longest silence of a server that is well. Keepalives come every half `wal_sender_timeout`. */
const TIMEOUT_MS_DEFAULT = 60_000

export type ReplicationOptions = {
  address: ServerAddress
  user: string
  /** Password or SCRAM keys; undefined where the server trusts us. */
  secret?: ScramSecret | undefined
  /** Shown in pg_stat_replication; synchronous_standby_names goes by it. */
  applicationName?: string
  tls?: ConnectionOptions | undefined
  /** Sends the password in clear to a server that asks for it. Refused by default. */
  allowCleartext?: boolean
  /** Longest silence of the server before the connection is given up. */
  timeoutMs?: number
  /** Ends the connection, whatever it is doing. */
  signal?: AbortSignal | undefined
}

/** What IDENTIFY_SYSTEM answers. */
export type SystemIdentity = {
  systemId: string
  timeline: number
  /** End of WAL flushed, on a standby of WAL replayed or received. */
  xlogPos: bigint
  dbname: string | undefined
}

/**
 * A connection to a Postgres (14 to 18) in physical replication mode. One thing at a time: a
 * command, a base backup or a stream. After an error of the server it can be used again, after
 * any other failure it is closed.
 * Source: PostgreSQL manual, "Streaming Replication Protocol".
 */
export class ReplicationConnection implements Disposable {
  readonly #stream: WireStream

  private constructor(stream: WireStream) {
    this.#stream = stream
  }

  /**
   * Connects and logs in.
   * @throws ServerError when the server refuses (57P03: it starts up), PgError when it cannot be
   *   reached, is not answering or asks for what it must not get.
   */
  static async connect(options: ReplicationOptions): Promise<ReplicationConnection> {
    const { address, tls, signal, timeoutMs = TIMEOUT_MS_DEFAULT } = options
    const stream = await WireStream.connect({ address, tls, signal, timeoutMs })
    try {
      await logIn(stream, options)
      return new ReplicationConnection(stream)
    } catch (error) {
      stream[Symbol.dispose]()
      throw error
    }
  }

  /** Major version of the server. */
  get serverMajor(): number {
    return Number.parseInt(this.#stream.parameters.get('server_version') ?? '', 10)
  }

  /** IDENTIFY_SYSTEM. @throws ServerError, PgError. */
  async identifySystem(): Promise<SystemIdentity> {
    const [systemId, timeline, xlogPos, dbname] = await this.#row('IDENTIFY_SYSTEM', 3)
    return {
      systemId: String(systemId),
      timeline: Number(timeline),
      xlogPos: parseLsn(String(xlogPos)),
      dbname: dbname?.toString(),
    }
  }

  /** TIMELINE_HISTORY: the history file of a timeline (not of 1, which has none). */
  async timelineHistory(timeline: number): Promise<{ filename: string; content: string }> {
    const [filename, content] = await this.#row(`TIMELINE_HISTORY ${timeline}`, 2)
    return { filename: String(filename), content: String(content) }
  }

  /** SHOW: the value of a setting. */
  async show(name: string): Promise<string> {
    if (!/^[A-Za-z_][A-Za-z0-9_.]*$/.test(name)) {
      throw new PgError('invalid_parameter_value', `not the name of a setting: "${name}"`)
    }
    return String((await this.#row(`SHOW ${name}`, 1))[0])
  }

  /**
   * BASE_BACKUP, as events in the order in which they arrive; the server waits while the caller
   * does not ask for the next. Leaving the loop early closes the connection.
   */
  baseBackup(options: BaseBackupOptions = {}): AsyncGenerator<BaseBackupEvent, void> {
    return baseBackup(this.#stream, { ...options, serverMajor: this.serverMajor })
  }

  /** START_REPLICATION. @throws ServerError when the server refuses, here or in the stream. */
  startReplication(options: StartReplicationOptions): Promise<ReplicationStream> {
    return ReplicationStream.start(this.#stream, options)
  }

  /** Ends the connection as the protocol asks. */
  async close(): Promise<void> {
    try {
      await this.#stream.send(terminate())
    } finally {
      this.#stream[Symbol.dispose]()
    }
  }

  [Symbol.dispose](): void {
    this.#stream[Symbol.dispose]()
  }

  /** The one row that `command` answers, of at least `columns` columns. */
  async #row(command: string, columns: number): Promise<ResultRow> {
    await this.#stream.send(query(command))
    const [row] = await readResult(this.#stream)
    if (row === undefined || row.length < columns) {
      throw new PgError('protocol_violation', `unexpected answer to ${command}`)
    }
    return row
  }
}

/** Reads a password from a file of one line, as secrets are kept. */
export async function passwordFrom(file: string): Promise<{ password: string }> {
  return { password: (await readFile(file, 'utf8')).replace(/\r?\n$/, '') }
}

async function logIn(stream: WireStream, options: ReplicationOptions): Promise<void> {
  const { user, secret, allowCleartext = false, applicationName } = options
  const name = applicationName === undefined ? {} : { application_name: applicationName }
  await stream.send(startup({ user, replication: 'true', ...name }, ProtocolVersion.V3_0))
  const login = new Login({ secret, allowCleartext, channelBinding: stream.channelBinding })
  while (!login.done) {
    await stream.next()
    const answer = login.answer(stream.reader)
    if (answer !== undefined) await stream.send(answer)
  }
  for (;;) {
    if ((await stream.next()) === Backend.ReadyForQuery) return
    const message = decodeBackend(stream.reader)
    if (message.name === 'ErrorResponse') throw new ServerError(message.fields)
  }
}
