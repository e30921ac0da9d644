import { PgError } from '../../../shared/errors/pg-error.ts'
import type { Postgres } from '../postgres/server.ts'
import { self, there } from '../world/here.ts'

const LATENCY_MS = 0.4

/**
 * A query of the present process to a Postgres of its machine: answered by that very server, never
 * by one that is frozen, and with an error by one that died meanwhile. The process that asks may
 * die before and after it.
 */
export function ask<T>(postgres: Postgres, point: string, query: () => T): Promise<T> {
  const { world } = there()
  const asking = self()
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const fail = (error: unknown): void => {
    world.settle(asking, () => reject(error))
  }
  world.after(LATENCY_MS * world.random.next(), asking, () => {
    if (world.dies(`${point}, before`, asking)) return
    const server = postgres.process
    if (server === undefined || !postgres.accepting) return fail(refused(postgres))
    const lost = (): void => fail(new PgError('connection_failure', 'the server ended'))
    server.onDeath.add(lost)
    world.after(LATENCY_MS * world.random.next(), server, () => {
      server.onDeath.delete(lost)
      let settle: () => void
      try {
        const result = query()
        settle = () => resolve(result)
      } catch (error) {
        settle = () => reject(error)
      }
      world.after(LATENCY_MS * world.random.next(), asking, () => {
        if (!world.dies(`${point}, after`, asking)) settle()
      })
    })
  })
  return promise
}

const refused = ({ id }: Postgres): PgError =>
  new PgError('connection_failure', `the Postgres of ${id} does not answer`)
