// A client that costs as little as a client can: it logs in, and then looks at no more of what comes
// than whether it ends with ReadyForQuery. Its ClientKey is derived once, so that ten thousand of
// them can log in while a proxy is what is measured.
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { decodeBackend } from '../../shared/pgwire/backend-decode.ts'
import {
  query,
  saslInitialResponse,
  saslResponse,
  startup,
  terminate,
} from '../../shared/pgwire/frontend.ts'
import { MessageReader } from '../../shared/pgwire/message-reader.ts'
import { ScramClient, type ScramSecret } from '../../shared/scram/client.ts'

/** Where, and how they log in. */
export type RawLogin = {
  readonly host: string
  readonly port: number
  readonly secret: ScramSecret
  readonly tls?: boolean
}

const MESSAGE_BYTES_MAX = 2 ** 20
const READY = Buffer.from([0x5a, 0, 0, 0, 5])
const READY_BYTES = 6

/** One such client. */
export class RawClient {
  /** Told of everything that comes, unread. */
  onData: (chunk: Buffer) => void = () => {}
  readonly #socket: Socket
  readonly #tail = Buffer.alloc(READY_BYTES)
  #ready: (() => void) | undefined
  #failed: ((error: Error) => void) | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
  }

  /** @throws Error when it is not let in. */
  static async connect(login: RawLogin): Promise<RawClient> {
    const socket = await open(login)
    await logIn(socket, login.secret)
    const client = new RawClient(socket)
    client.#listen()
    return client
  }

  /** A simple query; resolves at its ReadyForQuery, where that ends what has come. */
  async query(text: string): Promise<void> {
    const done = new Promise<void>((resolve, reject) => {
      this.#ready = resolve
      this.#failed = reject
    })
    this.#socket.write(query(text))
    await done
  }

  /** Sends; resolves when there is room for more. */
  async send(bytes: Uint8Array): Promise<void> {
    if (this.#socket.write(bytes)) return
    await new Promise<void>((resolve) => this.#socket.once('drain', () => resolve()))
  }

  close(): void {
    this.#failed = undefined
    this.#socket.write(terminate())
    this.#socket.destroy()
  }

  #listen(): void {
    this.#socket.on('data', (chunk: Buffer) => this.#data(chunk))
    const over = (): void => this.#failed?.(new Error('the server closed the connection'))
    this.#socket.on('close', over).on('error', over)
  }

  #data(chunk: Buffer): void {
    this.onData(chunk)
    const tail = this.#tail
    if (chunk.length >= READY_BYTES) chunk.copy(tail, 0, chunk.length - READY_BYTES)
    else {
      tail.copyWithin(0, chunk.length)
      chunk.copy(tail, READY_BYTES - chunk.length)
    }
    if (tail.compare(READY, 0, READY.length, 0, READY.length) !== 0) return
    tail.fill(0)
    const ready = this.#ready
    this.#ready = undefined
    this.#failed = undefined
    ready?.()
  }
}

function open({ host, port, tls = false }: RawLogin): Promise<Socket> {
  return new Promise((resolve, reject) => {
    // Direct TLS spares the round trip of an SSLRequest; both proxies take it.
    const options = { host, port, rejectUnauthorized: false, ALPNProtocols: ['postgresql'] }
    const path = host.startsWith('/') ? `${host}/.s.PGSQL.${port}` : undefined
    const plain = (): Socket => connectTcp(path === undefined ? { host, port } : { path })
    const socket = tls ? connectTls(options) : plain()
    socket.setNoDelay(true)
    socket.once('error', reject)
    socket.once(tls ? 'secureConnect' : 'connect', () => {
      socket.removeListener('error', reject)
      resolve(socket)
    })
  })
}

function logIn(socket: Socket, secret: ScramSecret): Promise<void> {
  const reader = new MessageReader({ messageBytesMax: MESSAGE_BYTES_MAX })
  let scram: ScramClient | undefined
  return new Promise((resolve, reject) => {
    const read = (chunk: Buffer): void => {
      reader.feed(chunk)
      while (reader.next() !== undefined) {
        const message = decodeBackend(reader)
        if (message.name === 'AuthenticationSASL') {
          scram = new ScramClient({ ...secret, mechanisms: ['SCRAM-SHA-256'] })
          socket.write(saslInitialResponse(scram.mechanism, scram.clientFirst()))
        } else if (message.name === 'AuthenticationSASLContinue') {
          socket.write(saslResponse(scram?.clientFinal(message.data) ?? Buffer.alloc(0)))
        } else if (message.name === 'ErrorResponse') {
          reject(new Error(`not let in: ${message.fields.message}`))
        } else if (message.name === 'ReadyForQuery') {
          socket.removeAllListeners()
          resolve()
        }
      }
    }
    socket.on('data', read)
    socket.once('close', () => reject(new Error('the server closed the connection')))
    socket.once('error', reject)
    socket.write(startup({ user: 'postgres', database: 'postgres' }, 0x0003_0000))
  })
}
