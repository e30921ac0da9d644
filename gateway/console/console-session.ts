// One client of the console: the simple protocol, and of the extended one what drivers use to send
// a plain command. Messages are answered strictly one after another; a command may wait for long.

import { PgError } from '../../shared/errors/pg-error.ts'
import {
  bindComplete,
  closeComplete,
  commandComplete,
  emptyQueryResponse,
  noData,
  parameterDescription,
  parseComplete,
  portalSuspended,
  readyForQuery,
} from '../../shared/pgwire/backend.ts'
import { fromPgError, noticeResponse } from '../../shared/pgwire/error-fields.ts'
import { decodeFrontend, type FrontendMessage } from '../../shared/pgwire/frontend-decode.ts'
import type { FormatCode, Target } from '../../shared/pgwire/frontend.ts'
import { MessageReader } from '../../shared/pgwire/message-reader.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { timer, wallTimeMs } from '../../shared/time/clock.ts'
import type { ClientSession } from '../client/client-session.ts'
import type { ClientSocket } from '../client/client-socket.ts'
import { Output } from '../session/output.ts'
import { TABLES, type Columns, type Row } from './columns.ts'
import { parseCommands, type Command } from './command.ts'
import { describeColumns, encodeRow } from './encode.ts'
import type { Scope } from './picture.ts'

/** What a command came to: rows of a table, or just its tag. */
export type Outcome = { readonly tag: string; readonly rows?: readonly Row[] }

/** What a console session needs from the console. */
export interface CommandRunner {
  /** @throws PgError why not. */
  run(command: Command, session: ConsoleSession): Promise<Outcome>
  left(session: ConsoleSession): void
  bug(error: unknown): void
}

export type ConsoleSessionOptions = {
  readonly runner: CommandRunner
  readonly socket: ClientSocket
  readonly number: number
  readonly cancelKey: Buffer
  readonly user: string
  /** May do more than SHOW. */
  readonly admin: boolean
  readonly client: string
  readonly scope: Scope
}

/** A command is short. */
const MESSAGE_BYTES_MAX = 1024 * 1024
/** What a client may send ahead of the command that runs. */
const AHEAD_BYTES_MAX = 1024 * 1024
/** What a client gets to read its last message. */
const LINGER_MS = 5000
/** Statements and portals of one client. */
const NAMES_MAX = 1000

const READY = readyForQuery(TransactionStatus.Idle)

type Statement = { readonly command: Command | undefined }
type Portal = Statement & {
  readonly formats: readonly FormatCode[]
  /** Undefined before the first Execute. */
  outcome?: Outcome
  sent: number
}

export class ConsoleSession implements ClientSession {
  readonly number: number
  readonly cancelKey: Buffer
  readonly user: string
  readonly admin: boolean
  readonly client: string
  /** Whom its commands are about. */
  readonly scope: Scope
  /** Wall clock. */
  readonly sinceMs = wallTimeMs()
  readonly paused = false
  /** Aborted when what runs is to end: by a CancelRequest, or as the client is gone. */
  stopping = new AbortController()
  readonly #runner: CommandRunner
  readonly #socket: ClientSocket
  readonly #output: Output
  readonly #reader = new MessageReader({ messageBytesMax: MESSAGE_BYTES_MAX })
  readonly #statements = new Map<string, Statement>()
  readonly #portals = new Map<string, Portal>()
  #working = false
  #skipping = false
  #inputEnded = false
  #closed = false
  #drained: (() => void) | undefined

  constructor(options: ConsoleSessionOptions) {
    this.number = options.number
    this.cancelKey = options.cancelKey
    this.user = options.user
    this.admin = options.admin
    this.client = options.client
    this.scope = options.scope
    this.#runner = options.runner
    this.#socket = options.socket
    this.#output = new Output(options.socket)
  }

  // ClientSession ---------------------------------------------------------------------------------

  begin(rest: Buffer): void {
    if (rest.length > 0) this.data(rest)
  }

  data(chunk: Buffer): void {
    if (this.#closed) return
    try {
      this.#reader.feed(chunk)
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      return this.#end(asFatal(error))
    }
    if (!this.#working) void this.#work()
    else if (this.#reader.buffered > AHEAD_BYTES_MAX) {
      this.#end(fatal('program_limit_exceeded', 'too much was sent ahead of a running command'))
    }
  }

  drain(): void {
    if (this.#output.drain()) this.#drained?.()
  }

  end(): void {
    this.#inputEnded = true
    if (!this.#working) this.#end()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.stopping.abort()
    this.#drained?.()
    this.#runner.left(this)
  }

  crashed(error: unknown): void {
    this.#runner.bug(error)
    this.#end(fatal('internal_error', 'internal error of the gateway'))
  }

  /** A CancelRequest with this session's key. */
  cancel(): void {
    this.stopping.abort()
  }

  /** The gateway goes away. */
  terminate(error: PgError): void {
    this.#end(error)
  }

  /** Tells the client something beside the answer. */
  notice(message: string, detail?: string): void {
    const fields = { severity: 'NOTICE', code: '00000', message }
    this.#say(noticeResponse(detail === undefined ? fields : { ...fields, detail }))
  }

  // Messages --------------------------------------------------------------------------------------

  /** Answers what is here, one message after another. */
  async #work(): Promise<void> {
    this.#working = true
    try {
      while (!this.#closed && this.#reader.next() !== undefined) {
        await this.#answer(decodeFrontend(this.#reader))
        await this.#read()
      }
      if (this.#inputEnded) this.#end()
    } catch (error) {
      if (error instanceof PgError) this.#end(asFatal(error))
      else this.crashed(error)
    }
    this.#working = false
  }

  /** A client that does not read gets no further answer. */
  async #read(): Promise<void> {
    if (this.#output.waiting === 0 || this.#closed) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#drained = resolve
    await promise
    this.#drained = undefined
  }

  async #answer(message: FrontendMessage): Promise<void> {
    if (message.name === 'Terminate') return this.#end()
    if (message.name === 'Sync') {
      this.#skipping = false
      this.#portals.clear()
      return this.#say(READY)
    }
    if (this.#skipping) return
    try {
      await this.#handle(message)
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      this.#say(fromPgError(error))
      if (message.name !== 'Query' && message.name !== 'FunctionCall') {
        this.#skipping = true
        return
      }
    }
    if (message.name === 'Query' || message.name === 'FunctionCall') this.#say(READY)
  }

  async #handle(message: FrontendMessage): Promise<void> {
    switch (message.name) {
      case 'Query':
        return await this.#query(message.text)
      case 'Parse':
        return this.#parse(message)
      case 'Bind':
        return this.#bind(message)
      case 'Describe':
        return this.#describe(message.target)
      case 'Execute':
        return await this.#execute(message.portal, message.rowsMax)
      case 'Close':
        if ('statement' in message.target) this.#statements.delete(message.target.statement)
        else this.#portals.delete(message.target.portal)
        return this.#say(closeComplete())
      case 'Flush':
      case 'CopyData':
      case 'CopyDone':
      case 'CopyFail':
        return
      case 'FunctionCall':
      case 'PasswordMessage':
      case 'Sync':
      case 'Terminate':
        throw new PgError('feature_not_supported', `the console takes no ${message.name}`)
    }
  }

  async #query(text: string): Promise<void> {
    this.#portals.clear()
    const commands = parseCommands(text)
    if (commands.length === 0) return this.#say(emptyQueryResponse())
    for (const command of commands) {
      const outcome = await this.#run(command)
      const columns = columnsOf(command)
      const answer: Buffer[] = []
      if (columns !== undefined) {
        answer.push(describeColumns(columns))
        for (const row of outcome.rows ?? []) answer.push(encodeRow(columns, row))
      }
      answer.push(commandComplete(outcome.tag))
      this.#say(Buffer.concat(answer))
    }
  }

  #parse(message: { statement: string; text: string }): void {
    const { statement: name, text } = message
    if (name !== '' && this.#statements.has(name)) {
      const taken = `prepared statement "${name}" already exists`
      throw new PgError('duplicate_prepared_statement', taken)
    }
    if (this.#statements.size >= NAMES_MAX) {
      throw new PgError('program_limit_exceeded', 'too many prepared statements')
    }
    const [command, ...more] = parseCommands(text)
    if (more.length > 0) {
      throw new PgError('syntax_error', 'cannot insert multiple commands into a prepared statement')
    }
    this.#statements.set(name, { command })
    this.#say(parseComplete())
  }

  #bind(message: FrontendMessage & { name: 'Bind' }): void {
    const { portal, statement, values, resultFormats } = message
    if (values.length > 0) {
      const why = `bind message supplies ${values.length} parameters, but a command takes none`
      throw new PgError('protocol_violation', why)
    }
    if (this.#portals.size >= NAMES_MAX) {
      throw new PgError('program_limit_exceeded', 'too many portals')
    }
    const { command } = this.#statement(statement)
    this.#portals.set(portal, { command, formats: resultFormats, sent: 0 })
    this.#say(bindComplete())
  }

  #describe(target: Target): void {
    const portal = 'portal' in target ? this.#portal(target.portal) : undefined
    const { command } = 'statement' in target ? this.#statement(target.statement) : (portal ?? {})
    const columns = command === undefined ? undefined : columnsOf(command)
    if ('statement' in target) this.#say(parameterDescription([]))
    this.#say(columns === undefined ? noData() : describeColumns(columns, portal?.formats))
  }

  async #execute(name: string, rowsMax: number): Promise<void> {
    const portal = this.#portal(name)
    const { command, formats } = portal
    if (command === undefined) return this.#say(emptyQueryResponse())
    portal.outcome ??= await this.#run(command)
    const { tag, rows = [] } = portal.outcome
    const columns = columnsOf(command)
    const end = rowsMax > 0 ? Math.min(rows.length, portal.sent + rowsMax) : rows.length
    const answer: Buffer[] = []
    if (columns !== undefined) {
      for (const row of rows.slice(portal.sent, end)) answer.push(encodeRow(columns, row, formats))
    }
    portal.sent = end
    answer.push(end < rows.length ? portalSuspended() : commandComplete(tag))
    this.#say(Buffer.concat(answer))
  }

  async #run(command: Command): Promise<Outcome> {
    this.stopping = new AbortController()
    if (this.#closed) this.stopping.abort()
    return await this.#runner.run(command, this)
  }

  #statement(name: string): Statement {
    const found = this.#statements.get(name)
    if (found !== undefined) return found
    const why = name === '' ? 'unnamed prepared statement' : `prepared statement "${name}"`
    throw new PgError('invalid_sql_statement_name', `${why} does not exist`)
  }

  #portal(name: string): Portal {
    const found = this.#portals.get(name)
    if (found !== undefined) return found
    throw new PgError('invalid_cursor_name', `portal "${name}" does not exist`)
  }

  #say(bytes: Buffer): void {
    if (!this.#closed) this.#output.write(bytes, 0, bytes.length)
  }

  #end(error?: PgError): void {
    if (this.#closed) return
    if (error !== undefined) this.#say(fromPgError(error))
    this.close()
    this.#socket.end()
    timer(LINGER_MS, () => this.#socket.terminate(), { ref: false })
  }
}

function columnsOf(command: Command): Columns | undefined {
  if (command.verb !== 'SHOW' || command.table === 'HELP') return undefined
  return TABLES[command.table]
}

function fatal(condition: PgError['condition'], message: string): PgError {
  return new PgError(condition, message, { severity: 'FATAL' })
}

function asFatal(error: PgError): PgError {
  return error.severity === 'FATAL' ? error : fatal(error.condition, error.message)
}
