// The path of a unix socket, before somebody listens on it.
import { existsSync, rmSync } from 'node:fs'
import { StartError } from './start-error.ts'

const SOCKET_PATH_BYTES_MAX = 107 // sun_path of unix(7), without its closing zero

/**
 * Removes a socket file that nobody listens on: a process that was killed leaves it there.
 * @throws StartError when somebody listens, or for a path that is too long.
 */
export async function freeSocketPath(path: string): Promise<void> {
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) {
    throw new StartError(`${path} is too long for a unix socket: choose another --socket-dir`)
  }
  if (!existsSync(path)) return
  const taken = await Bun.connect({ unix: path, socket: { data() {} } }).then(
    (socket) => {
      socket.terminate()
      return true
    },
    () => false,
  )
  if (taken) throw new StartError(`${path} is in use: choose another --socket-dir or --port`)
  rmSync(path, { force: true })
}
