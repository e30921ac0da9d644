import { cloneFrom } from '../clone/clone.ts'
import type { ManagedPostgres } from '../postgres/managed-postgres.ts'
import type { Target } from './verbs.ts'

/** Acts on the data directory itself. The caller holds its lock. */
export function directTarget(postgres: ManagedPostgres): Target {
  const none = {}
  return {
    init: (sql) => postgres.init(sql),
    start: (timeoutMs) => postgres.start(none, timeoutMs),
    stop: (request) => postgres.stop(request),
    restart: (request) => postgres.restart(none, request),
    reload: () => postgres.reload(none),
    async clone(source) {
      const never = new AbortController().signal
      const request = { ...source, settings: none, replace: false }
      for await (const _ of cloneFrom(postgres, request, never)) continue
    },
    async status() {
      await postgres.adopt()
      return postgres.status()
    },
    async version() {
      const { version, binDir, hasPgRewind } = postgres.options.installation
      return { postgresVersion: version, binDir, hasPgRewind }
    },
  }
}
