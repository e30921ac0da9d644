// How a command asks the supervisor of a running cluster for something: one JSON line each way over
// a unix socket in a folder that only the cluster's owner may enter.
import { rmSync } from 'node:fs'
import { createConnection, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { RefusedError, messageOf } from '../errors.ts'
import type { ClusterPlan } from './plan.ts'

const LINE_BYTES_MAX = 64 * 1024

/** What can be asked. */
export type ControlRequest =
  | { readonly op: 'add node'; readonly cell: string | undefined }
  | { readonly op: 'remove node'; readonly id: string; readonly clean: boolean }
  /** Decided already: it is what the next start is to find. */
  | { readonly op: 'keep durability'; readonly durability: string }

/** What came of it. `id` is the pooler's; empty where it is about none. */
export type ControlReply = { readonly id: string; readonly cell: string } | { error: string }

/** Where the supervisor of `plan` listens. */
export const controlSocket = ({ runDirs }: Pick<ClusterPlan, 'runDirs'>): string =>
  join(runDirs[0] ?? '', 'control.sock')

/** Answers requests one by one until disposed. @throws the system's error. */
export async function serveControl(
  path: string,
  handle: (request: ControlRequest) => Promise<ControlReply>,
): Promise<AsyncDisposable> {
  rmSync(path, { force: true }) // of a supervisor that was killed: we hold the folder's lock
  const sockets = new Set<Socket>()
  let last: Promise<unknown> = Promise.resolve()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => socket.destroy())
    onLine(socket, (line) => {
      last = last.then(() => answer(socket, line, handle))
    })
  })
  const listening = Promise.withResolvers<void>()
  server.once('error', listening.reject).listen(path, listening.resolve)
  await listening.promise
  return {
    async [Symbol.asyncDispose]() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await last
    },
  }
}

/** Never rejects. */
async function answer(
  socket: Socket,
  line: string,
  handle: (request: ControlRequest) => Promise<ControlReply>,
): Promise<void> {
  let reply: ControlReply
  try {
    reply = await handle(JSON.parse(line) as ControlRequest)
  } catch (error) {
    reply = { error: messageOf(error) }
  }
  socket.end(`${JSON.stringify(reply)}\n`)
}

/** @throws RefusedError with what the supervisor says, or when it does not listen. */
export async function askControl(
  plan: Pick<ClusterPlan, 'runDirs'>,
  request: ControlRequest,
): Promise<{ readonly id: string; readonly cell: string }> {
  const socket = createConnection(controlSocket(plan))
  const replied = Promise.withResolvers<ControlReply>()
  socket.on('connect', () => socket.write(`${JSON.stringify(request)}\n`))
  socket.on('error', replied.reject)
  socket.on('close', () => replied.reject(new Error('it has closed the connection')))
  onLine(socket, (line) => replied.resolve(JSON.parse(line) as ControlReply))
  const reply = await replied.promise.catch((error: unknown): ControlReply => {
    return { error: `the supervisor does not answer: ${messageOf(error)}` }
  })
  socket.destroy()
  if ('error' in reply) throw new RefusedError(reply.error)
  return reply
}

/** The first line that comes. */
function onLine(socket: Socket, take: (line: string) => void): void {
  let text = ''
  socket.setEncoding('utf8')
  socket.on('data', (chunk: string) => {
    if (text.includes('\n')) return
    text += chunk
    if (text.length > LINE_BYTES_MAX) socket.destroy()
    else if (text.includes('\n')) take(text.slice(0, text.indexOf('\n')))
  })
}
