// Debian's PgBouncer with nothing behind it: its console is all that is wanted of it.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { giveTo, resolveRunAs, spawnIdentity } from '../../pgctld/postgres/run-as.ts'
import { debianTool } from '../support/debian.ts'
import { freePort } from '../support/ports.ts'
import { until } from '../support/until.ts'
import { Admin } from './admin.ts'

/** PgBouncer 1.18 knows no other. */
const VERSION_3_0 = 0x0003_0000

/** Its console. */
export type PgBouncerConsole = AsyncDisposable & { readonly admin: Admin }

/** Starts one. Undefined, with the reason on stderr, where there is no PgBouncer. */
export async function startPgBouncerConsole(): Promise<PgBouncerConsole | undefined> {
  const tool = await debianTool('pgbouncer')
  if ('skipped' in tool) {
    console.error(`no PgBouncer: ${tool.skipped}`)
    return undefined
  }
  await using stack = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'mg-bouncer-'))
  stack.defer(() => rm(dir, { recursive: true }))
  const port = await freePort()
  await writeFile(join(dir, 'pgbouncer.ini'), configText(port))
  await writeFile(join(dir, 'users.txt'), '"postgres" "postgres"\n')
  const user = resolveRunAs(undefined)
  for (const name of ['', 'users.txt', 'pgbouncer.ini']) giveTo(user, join(dir, name))
  const child = Bun.spawn([tool.path, join(dir, 'pgbouncer.ini')], {
    cwd: dir,
    env: { ...process.env, ...tool.env },
    stdout: 'ignore',
    stderr: 'ignore',
    ...spawnIdentity(user),
  })
  stack.defer(async () => {
    child.kill('SIGTERM')
    await child.exited
  })
  const login = { database: 'pgbouncer', version: VERSION_3_0 }
  const admin = await until(() => Admin.connect({ host: '127.0.0.1', port }, login), {
    what: 'PgBouncer answers',
  })
  stack.use(admin)
  const owned = stack.move()
  return { admin, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

function configText(port: number): string {
  return `[databases]
postgres = host=127.0.0.1 port=1
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = trust
auth_file = users.txt
admin_users = postgres
pool_mode = transaction
`
}
