import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError } from '../config/errors.ts'
import { StartError } from './start-error.ts'

const NAME = /^[a-z0-9-]+(?:\.[a-z0-9-]+)*$/
const TOKEN_FILE = 'token'

/** The secrets of a service: files of --secrets-dir, read when they are needed. */
export interface Secrets {
  /** The folder, when one was given. */
  readonly dir: string | undefined
  /** What guards control over HTTP and gRPC; undefined: only loopback may control. */
  readonly token: string | undefined
  /** The text of one file without blanks around it; undefined when there is no such file. */
  read(name: string): Promise<string | undefined>
}

/** Opens --secrets-dir. @throws ConfigError when it is no folder, StartError when unreadable. */
export async function openSecrets(dir: string | undefined): Promise<Secrets> {
  if (dir === undefined) return { dir, token: undefined, read: async () => undefined }
  const found = await stat(dir).catch(() => undefined)
  if (!found?.isDirectory()) throw new ConfigError([`--secrets-dir: ${dir} is not a folder`])
  const read = (name: string): Promise<string | undefined> => readSecret(dir, name)
  return { dir, token: await read(TOKEN_FILE), read }
}

async function readSecret(dir: string, name: string): Promise<string | undefined> {
  if (!NAME.test(name)) throw new Error(`${name} is not the name of a secret`)
  const file = join(dir, name)
  try {
    const text = (await readFile(file, 'utf8')).trim()
    // An empty token would compare equal to a missing one somewhere, some day.
    if (text === '') throw new StartError(`${file} is empty`)
    return text
  } catch (error) {
    if (error instanceof StartError) throw error
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    const why = error instanceof Error ? error.message : String(error)
    throw new StartError(`cannot read ${file}: ${why}`, { cause: error })
  }
}
