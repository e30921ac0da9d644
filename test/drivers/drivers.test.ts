// Goal: no driver can tell the gateway from a Postgres.
// Method: each driver runs the same calls straight at a Postgres and through gateway and pooler,
// against one expectation: login by password and with TLS verify-full, parameters of every common
// type in text and binary, a transaction, a cancel, a pipeline, and a result read in three pages.
// All drivers share one cluster.
import { afterAll, beforeAll, describe } from 'bun:test'
import { Servers, VIAS, type Via } from '../support/servers.ts'
import { bunSqlTests } from './bun-sql.ts'
import { drizzleTests } from './drizzle.ts'
import { knexTests } from './knex.ts'
import { nodePostgresStreamTests } from './node-postgres-streams.ts'
import { nodePostgresTests } from './node-postgres.ts'
import { postgresJsTests } from './postgres-js.ts'
import { psqlTests } from './psql.ts'
import { psqlFeatureTests } from './psql-features.ts'
import { psycopgTests } from './psycopg.ts'

const DRIVERS = {
  psql: psqlTests,
  'psql at work': psqlFeatureTests,
  psycopg: psycopgTests,
  'postgres.js': postgresJsTests,
  'node-postgres': nodePostgresTests,
  'streams of node-postgres': nodePostgresStreamTests,
  Knex: knexTests,
  'Bun.sql': bunSqlTests,
  'drizzle-orm': drizzleTests,
}

let servers: Servers | undefined
beforeAll(async () => {
  servers = await Servers.start()
}, 120_000)
afterAll(() => servers?.[Symbol.asyncDispose](), 60_000)

describe.each([...VIAS])('via %s', (via: Via) => {
  for (const [name, tests] of Object.entries(DRIVERS)) {
    describe(name, () => {
      tests(() => {
        if (servers === undefined) throw new Error('not started')
        return servers.of(via)
      })
    })
  }
})
