import { copyFile, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../support/ports.ts'
import { giveTo, resolveRunAs, spawnIdentity } from '../../pgctld/postgres/run-as.ts'
import { until } from '../support/until.ts'
import type { PgBouncerProgram } from './newest-pgbouncer.ts'

/** A running PgBouncer in transaction mode over one Postgres's unix socket. */
export type PgBouncer = AsyncDisposable & { port: number; pid: number; version: string }

/** How the clients log in: the verifier of user postgres, so that SCRAM is done as by the gateway. */
export type PgBouncerOptions = {
  socketDir: string
  postgresPort: number
  poolSize: number
  verifier: string
  /** PEM files; TLS is off without them. */
  tls?: { cert: string; key: string }
}

/** Starts it on a free port. @throws Error with the reason when there is none. */
export async function startPgBouncer(
  program: PgBouncerProgram,
  options: PgBouncerOptions,
): Promise<PgBouncer> {
  const { command } = program
  const env = { ...process.env, ...program.env }
  const dir = await mkdtemp(join(tmpdir(), 'mg-bouncer-'))
  const port = await freePort()
  await writeFile(join(dir, 'users.txt'), `"postgres" "${options.verifier}"\n`)
  const { tls } = options
  if (tls !== undefined) {
    await copyFile(tls.cert, join(dir, 'tls.crt'))
    await copyFile(tls.key, join(dir, 'tls.key'))
  }
  await writeFile(join(dir, 'pgbouncer.ini'), configText(dir, port, options))
  const user = resolveRunAs(undefined)
  for (const name of ['', ...(await readdir(dir))]) giveTo(user, join(dir, name))
  const child = Bun.spawn([...command, join(dir, 'pgbouncer.ini')], {
    env,
    stdout: 'ignore',
    stderr: Bun.file(join(dir, 'log')),
    ...spawnIdentity(user),
  })
  const answers = async () => {
    if (child.exitCode !== null)
      throw new Error(`PgBouncer ended: ${await Bun.file(join(dir, 'log')).text()}`)
    return canConnect(port)
  }
  await until(answers, { what: 'PgBouncer answers' })
  const version = Bun.spawnSync([...command, '--version'], { env })
  return {
    port,
    pid: child.pid,
    version: version.stdout.toString().split('\n')[0] ?? '',
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await child.exited
      await rm(dir, { recursive: true })
    },
  }
}

function configText(dir: string, port: number, options: PgBouncerOptions): string {
  return `[databases]
postgres = host=${options.socketDir} port=${options.postgresPort} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${join(dir, 'users.txt')}
pool_mode = transaction
default_pool_size = ${options.poolSize}
max_client_conn = 15000
log_connections = 0
log_disconnections = 0
log_stats = 0
ignore_startup_parameters = extra_float_digits
${tlsText(dir, options)}`
}

function tlsText(dir: string, { tls }: PgBouncerOptions): string {
  if (tls === undefined) return ''
  return `client_tls_sslmode = allow
client_tls_cert_file = ${join(dir, 'tls.crt')}
client_tls_key_file = ${join(dir, 'tls.key')}
`
}

async function canConnect(port: number): Promise<boolean> {
  const socket = await Bun.connect({
    hostname: '127.0.0.1',
    port,
    socket: { data: () => undefined },
  }).catch(
    () => undefined, // not listening yet
  )
  socket?.end()
  return socket !== undefined
}
