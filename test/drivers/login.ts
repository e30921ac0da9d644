import type { Server } from '../support/servers.ts'
import { until } from '../support/until.ts'

/** What every driver needs to log in; the names are node-postgres's and postgres.js's. */
export type Login = {
  host: string
  port: number
  user: string
  password: string
  database: string
}

/** The superuser's login. `localhost` is a name that the certificate has. */
export function loginOf(server: Server): Login {
  const { port } = server.address
  return { host: 'localhost', port, user: 'postgres', password: 'postgres', database: 'postgres' }
}

/** Resolves when a backend runs a statement that contains `text`; its process id. */
export async function backendRunning(server: Server, text: string): Promise<number> {
  await using watcher = await server.connect()
  const running = `select pid from pg_stat_activity
    where state = 'active' and pid <> pg_backend_pid() and query like '%${text}%'`
  const rows = await until(async () => {
    const lines = await watcher.query(running)
    return lines.find((line) => line.startsWith('DataRow'))
  })
  return Number(rows.slice('DataRow '.length))
}
