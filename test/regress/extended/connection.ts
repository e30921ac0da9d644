// A frontend of the runner's own: sends messages and gives back every message of the answer. Unlike
// the one of test/support it waits as long as a statement of the suite may take.
import { connect, type Socket } from 'node:net'
import { decodeBackend, type BackendMessage } from '../../../shared/pgwire/backend-decode.ts'
import * as messages from '../../../shared/pgwire/frontend.ts'
import { MessageReader } from '../../../shared/pgwire/message-reader.ts'
import { ScramClient } from '../../../shared/scram/client.ts'

/** Who logs in, with which settings. */
export type Login = {
  readonly port: number
  readonly user: string
  readonly database: string
  readonly parameters: Readonly<Record<string, string>>
}

const PASSWORD = 'postgres'
const MESSAGE_BYTES_MAX = 2 ** 30

/** One connection. Dispose it. */
export class Connection implements AsyncDisposable {
  /** What ParameterStatus last told. */
  readonly parameters = new Map<string, string>()
  /** The server has closed it. */
  closed = false
  readonly #socket: Socket
  readonly #reader = new MessageReader({ messageBytesMax: MESSAGE_BYTES_MAX })
  readonly #got: BackendMessage[] = []
  #wake: (() => void) | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    const over = (): void => {
      this.closed = true
      this.#wake?.()
    }
    socket.setNoDelay(true)
    socket.on('close', over).on('error', over)
    socket.on('data', (chunk: Buffer) => {
      this.#reader.feed(chunk)
      while (this.#reader.next() !== undefined) this.#note(decodeBackend(this.#reader))
      this.#wake?.()
    })
  }

  /** Connects and logs in. @throws Error with the server's refusal. */
  static async open(login: Login): Promise<Connection> {
    const connection = new Connection(connect(login.port, '127.0.0.1'))
    const { user, database, parameters } = login
    connection.send(messages.startup({ user, database, ...parameters }))
    let scram: ScramClient | undefined
    for (;;) {
      const message = await connection.message()
      if (message === undefined) throw new Error('the server closed the connection at login')
      if (message.name === 'ErrorResponse') throw new Error(message.fields.message)
      if (message.name === 'ReadyForQuery') return connection
      if (message.name === 'AuthenticationSASL') {
        scram = new ScramClient({ password: PASSWORD, mechanisms: message.mechanisms })
        connection.send(messages.saslInitialResponse(scram.mechanism, scram.clientFirst()))
      } else if (message.name === 'AuthenticationSASLContinue' && scram !== undefined) {
        connection.send(messages.saslResponse(scram.clientFinal(message.data)))
      }
    }
  }

  send(...parts: readonly Uint8Array[]): void {
    this.#socket.write(Buffer.concat(parts))
  }

  /** The next message; undefined when the server has closed. */
  async message(): Promise<BackendMessage | undefined> {
    while (this.#got.length === 0 && !this.closed) {
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
    return this.#got.shift()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.closed) return
    this.#socket.end(messages.terminate())
    while (!this.closed) await new Promise<void>((resolve) => (this.#wake = resolve))
  }

  #note(message: BackendMessage): void {
    if (message.name === 'ParameterStatus') this.parameters.set(message.parameter, message.value)
    this.#got.push(message)
  }
}
