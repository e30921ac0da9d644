import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { debianPython } from '../support/debian.ts'
import type { Server } from '../support/servers.ts'
import { loginOf } from './login.ts'

const PROGRAM = join(import.meta.dir, 'psycopg-client.py')
const python = await debianPython('python3-psycopg')
const skipped = 'skipped' in python
if (skipped) console.error(`psycopg is not there: ${python.skipped}`)

/** Each scenario of psycopg-client.py, and what it answers. */
const SCENARIOS: Readonly<Record<string, unknown>> = {
  prepared: [...Array.from({ length: 5 }, (_, i) => [i + 1, `0${i}00ff`]), [1.5, true], 1],
  deallocated: [Array.from({ length: 12 }, (_, i) => i + 1), 7],
  pipeline: [Array.from({ length: 20 }, (_, i) => i), '23505', [20, 19]],
  copy: [(20_000 * 19_999) / 2, '57014', [20_001, 20_000]],
  notify: ['own', '1', '2', '3'].map((payload) => ['psycopg_channel', payload]),
  notices: [
    ['NOTICE', 'one'],
    ['WARNING', 'two'],
  ],
  two_phase: [0, ['multigres'], 1, 1],
  cancel: ['57014', 1],
  cursors: [
    [1, 2, 3, 4, 5],
    [5, 6, 1],
  ],
  transactions: ['serializable', '25006', [2]],
  encodings: [
    ['iso8859-1', ['ä', 1]],
    ['utf-8', ['漢', 1]],
  ],
}

async function run(server: Server, scenario: string): Promise<unknown> {
  if ('skipped' in python) throw new Error(python.skipped)
  const { database, ...login } = loginOf(server)
  const options = { ...login, dbname: database, sslmode: 'verify-full', sslrootcert: server.caFile }
  const child = Bun.spawn([python.path, PROGRAM, scenario, JSON.stringify(options)], {
    env: { ...process.env, ...python.env },
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()])
  if ((await child.exited) !== 0) throw new Error(err)
  return JSON.parse(out)
}

/** psycopg 3, over libpq: another language, and the only driver here with libpq's pipeline mode. */
export function psycopgTests(server: () => Server): void {
  test.skipIf(skipped).each(Object.entries(SCENARIOS))('%s', async (scenario, wanted) => {
    expect(await run(server(), scenario)).toEqual(wanted as object)
  })
}
