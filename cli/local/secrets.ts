import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { RefusedError, messageOf } from '../errors.ts'
import { writeFileWhole } from './files.ts'

/** The password of the user `postgres` in a cluster for one's own machine. */
export const DEFAULT_PASSWORD = 'postgres'

const OWNER_ONLY = 0o700
const SECRET_BYTES = 32
const POSTGRES_PASSWORD = 'postgres.password'

/** The certificates that gateways present and what clients verify them with. */
export interface TlsFiles {
  readonly cert: string
  readonly key: string
  /** `sslrootcert`; absent when the certificate is the user's own. */
  readonly ca?: string
}

/**
 * Makes what is missing of a cluster's secrets: files of 0600 in a folder of 0700. Those that exist
 * stay: the data was initialised with them. `passwordFile` counts for a new cluster only.
 */
export function makeSecrets(dir: string, passwordFile: string | undefined): void {
  mkdirSync(dir, { recursive: true, mode: OWNER_ONLY })
  chmodSync(dir, OWNER_ONLY)
  const make = (name: string, value: () => string): void => {
    const file = join(dir, name)
    if (!existsSync(file)) writeFileWhole(file, `${value()}\n`)
  }
  make(POSTGRES_PASSWORD, () =>
    passwordFile === undefined ? DEFAULT_PASSWORD : readPassword(passwordFile),
  )
  make('replication.password', newSecret)
  make('link.secret', newSecret)
  make('token', newSecret)
}

/** The password of the user `postgres`. */
export function postgresPassword(dir: string): string {
  return readPassword(join(dir, POSTGRES_PASSWORD))
}

function readPassword(file: string): string {
  let password: string
  try {
    password = readFileSync(file, 'utf8').replace(/\r?\n$/, '')
  } catch (error) {
    throw new RefusedError(`cannot read the password in ${file}: ${messageOf(error)}`)
  }
  if (password === '' || /[\0\r\n]/.test(password)) {
    throw new RefusedError(`${file} holds no password: one line, not empty`)
  }
  return password
}

const newSecret = (): string => randomBytes(SECRET_BYTES).toString('base64url')
