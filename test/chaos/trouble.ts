// What other clients of a busy cluster do all the time, and what must not cost anybody a write:
// cancels, backends terminated, connections cut, notices turned off.
import type { Random } from '../support/random.ts'
import type { Client } from './client.ts'
import { LOOK } from './node.ts'

const KINDS = ['cancel', 'terminate', 'cut', 'mute'] as const

/** One act of trouble against one of `victims`. */
export async function makeTrouble(
  client: Client,
  victims: readonly Client[],
  random: Random,
): Promise<undefined> {
  const victim = random.pick(victims)
  const { frontend } = victim
  switch (random.pick(KINDS)) {
    case 'cancel':
      await frontend?.cancel().catch(() => undefined) // its gateway may be away
      return
    case 'terminate':
      await client.run(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where backend_type = 'client backend' and usename = 'postgres' and query like '%logs%'
           and application_name <> '${LOOK}' and pid <> pg_backend_pid() limit 1`,
      )
      return
    case 'cut':
      frontend?.destroy()
      return
    case 'mute':
      await client.run('set client_min_messages = error; create table if not exists muted ()')
  }
}
