// Goal: no client can tell the gateway from a Postgres, message for message.
// Method: every script runs straight at a Postgres and through gateway and pooler, against one
// expectation. All suites share one cluster: starting one takes longer than most suites.
import { afterAll, beforeAll, describe } from 'bun:test'
import { Servers, VIAS, type Server, type Via } from '../support/servers.ts'
import { batchEndTests } from './batch-end.ts'
import { cancelTests } from './cancel.ts'
import { copyTests } from './copy.ts'
import { extendedQueryTests } from './extended-query.ts'
import { functionCallTests } from './function-call.ts'
import { largeMessageTests } from './large-messages.ts'
import { notificationTests } from './notifications.ts'
import { pipelineTests } from './pipelines.ts'
import { portalTests } from './portals.ts'
import { preparedStatementTests } from './prepared-statements.ts'
import { sessionStateTests } from './session-state.ts'
import { settingTests } from './settings.ts'
import { simpleQueryTests } from './simple-query.ts'
import { startupTests } from './startup.ts'
import { statementLifeTests } from './statement-life.ts'
import { tlsTests } from './tls.ts'
import { unnamedStatementTests } from './unnamed-statement.ts'

const SUITES = {
  'simple query': simpleQueryTests,
  'extended query': extendedQueryTests,
  'end of a batch': batchEndTests,
  pipelines: pipelineTests,
  portals: portalTests,
  'prepared statements': preparedStatementTests,
  'life of a statement': statementLifeTests,
  'unnamed statement': unnamedStatementTests,
  copy: copyTests,
  'function call': functionCallTests,
  'large messages': largeMessageTests,
  settings: settingTests,
  'session state': sessionStateTests,
  notifications: notificationTests,
  cancel: cancelTests,
  startup: startupTests,
  tls: tlsTests,
}

let servers: Servers | undefined
beforeAll(async () => {
  servers = await Servers.start()
}, 120_000)
afterAll(() => servers?.[Symbol.asyncDispose](), 60_000)

describe.each([...VIAS])('via %s', (via: Via) => {
  for (const [name, tests] of Object.entries(SUITES)) {
    describe(name, () => {
      const server = (): Server => {
        if (servers === undefined) throw new Error('not started')
        return servers.of(via)
      }
      tests(server)
    })
  }
})
