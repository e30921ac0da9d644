// Goal: no database has the console's name, since nobody could connect to it; all others may be
// made, renamed and dropped through the gateway.
import { expect, test } from 'bun:test'
import * as messages from '../../shared/pgwire/frontend.ts'
import { startHarness } from '../gateway/harness.ts'

const REFUSED = [
  'create database multigres',
  'CREATE DATABASE "multigres" TEMPLATE template0',
  '/* a */ create -- b\n database Multigres',
  'alter database other rename to multigres',
  'ALTER DATABASE "other" RENAME TO "multigres";',
]

test('the name is refused with 0A000, in both protocols, and nothing else is', async () => {
  await using harness = await startHarness()
  await using frontend = await harness.connect('gateway')
  expect(await frontend.query('create database other')).toContain('CommandComplete CREATE DATABASE')
  for (const text of REFUSED) {
    const simple = await frontend.query(text)
    expect(simple).toEqual(['ErrorResponse ERROR 0A000', 'ReadyForQuery idle'])
    expect(frontend.errors.at(-1)?.message).toBe('a database cannot have the name "multigres"')
    frontend.send(messages.parse(text), messages.bind(), messages.execute(), messages.sync())
    const extended = await frontend.untilReadyForQuery()
    expect(extended).toEqual(['ErrorResponse ERROR 0A000', 'ReadyForQuery idle'])
  }
  const names = await frontend.query("select datname from pg_database where datname like 'multi%'")
  expect(names).toContain('CommandComplete SELECT 0')
  const texts = [
    'create database "Multigres"',
    'alter database "Multigres" rename to multigres2',
    'create schema multigres',
    'create table multigres.multigres (multigres int)',
    'drop database multigres2',
  ]
  for (const text of texts) {
    expect((await frontend.query(text))[0]).toStartWith('CommandComplete')
  }
  await frontend.query('drop database other')
}, 30_000)
