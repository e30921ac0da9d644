import { query } from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import type { Server } from '../support/servers.ts'
import { until } from '../support/until.ts'

let tags = 0

/** A statement that sleeps, told from every other by a comment. */
export function sleepText(seconds: number): string {
  tags += 1
  return `select pg_sleep(${seconds}) /* sleep ${tags} */`
}

/** Sends a Query that takes ten seconds. Resolves when it runs. */
export async function startSleep(server: Server, frontend: Frontend): Promise<void> {
  const text = sleepText(10)
  frontend.send(query(text))
  await untilRuns(server, text)
}

/** Resolves when some backend runs `text`. */
export async function untilRuns(server: Server, text: string): Promise<void> {
  await using watcher = await server.connect()
  const running = `select count(*) from pg_stat_activity
    where state = 'active' and pid <> pg_backend_pid() and query = '${text}'`
  await until(async () => (await watcher.row(running))[0] === '1')
}
