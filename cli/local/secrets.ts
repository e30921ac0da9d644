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
const REPLICATION_PASSWORD = 'replication.password'

/** The certificates that gateways present and what clients verify them with. */
export interface TlsFiles {
  readonly cert: string
  readonly key: string
  /** `sslrootcert`; absent when the certificate is the user's own. */
  readonly ca?: string
}

/** What secrets are made for. */
export interface SecretsOptions {
  /** The password of the user `postgres`, where there is none yet. */
  readonly passwordFile: string | undefined
  /** Folder of the members' data; it need not exist. */
  readonly dataRoot: string
}

/**
 * Makes what is missing of a cluster's secrets: files of 0600 in a folder of 0700. Those that exist
 * stay, since data was initialised with them; for data whose own are gone, those of the followers'
 * password files are taken.
 * @throws RefusedError where the data has passwords that nobody knows any more.
 */
export function makeSecrets(dir: string, { passwordFile, dataRoot }: SecretsOptions): void {
  mkdirSync(dir, { recursive: true, mode: OWNER_ONLY })
  chmodSync(dir, OWNER_ONLY)
  const hasData = [...filesIn(dataRoot, '*/pgdata/PG_VERSION')].length > 0
  const make = (name: string, value: (file: string) => string): void => {
    const file = join(dir, name)
    if (!existsSync(file)) writeFileWhole(file, `${value(file)}\n`)
  }
  make(POSTGRES_PASSWORD, (file) => {
    if (passwordFile !== undefined) return readPassword(passwordFile)
    if (!hasData) return DEFAULT_PASSWORD
    throw lost(file, dataRoot, 'give it again with --password-file FILE')
  })
  make(REPLICATION_PASSWORD, (file) => {
    if (!hasData) return newSecret()
    const found = filesIn(dataRoot, '*/pgdata.pgpass').map((name) =>
      passwordIn(join(dataRoot, name)),
    )
    const password = found.find((text) => text !== undefined)
    if (password !== undefined) return password
    throw lost(file, dataRoot, 'restore it from a backup of the folder')
  })
  make('link.secret', newSecret)
  make('token', newSecret)
}

function lost(file: string, dataRoot: string, remedy: string): RefusedError {
  return new RefusedError(
    `${file} is gone, and the data in ${dataRoot} was made with it: ${remedy}`,
  )
}

function filesIn(root: string, pattern: string): string[] {
  return existsSync(root) ? [...new Bun.Glob(pattern).scanSync({ cwd: root })] : []
}

/** The password of a line that pgctld wrote (its conf/passfile.ts): `*:*:*:ROLE:PASSWORD`. */
function passwordIn(passfile: string): string | undefined {
  const [, password] = /^\*:\*:\*:[^:]+:(.+)$/m.exec(readFileSync(passfile, 'utf8')) ?? []
  return password?.replace(/\\([\\:])/g, '$1')
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
